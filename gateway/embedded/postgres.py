"""A private PostgreSQL of our own for tests, measurements and development. Production brings its own."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from gateway.embedded.address import free_port, lost_port
from gateway.embedded.binaries import PostgresSource, find_postgres
from gateway.embedded.child import Owner, end_child, last_lines, start_child
from gateway.embedded.errors import FolderUnusable, ServerFailed
from gateway.embedded.folder import make_private
from gateway.embedded.orphan import end_orphan
from gateway.embedded.unprivileged import reachable_copy, unprivileged_owner

POLL_SECONDS = 0.02
INITDB_SECONDS_MAX = 60.0
READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0
QUERY_SECONDS_MAX = 60.0
PORT_ATTEMPTS_MAX = 3
SUPERUSER = "postgres"


class PrivatePostgres:
    """One cluster in `folder`, on a free port of 127.0.0.1 and a unix socket there, with its own password.

    PostgreSQL refuses to run as root. There it runs as the user `nobody`, to whom the folder is given; so its
    parents must let that user through (a folder made under /tmp does, one under /root does not). It ends with
    this process, as the private Redis does, and `start` has the same rule: main thread, blocking, 1 to 2 s
    with a new cluster.
    """

    def __init__(
        self,
        folder: Path,
        source: PostgresSource = "wheel",
        *,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        keeps_port: bool = False,
    ) -> None:
        """Nothing is touched before `start`.

        `keeps_port`: the port of the first start is that of every other one, for clients that know it.

        `fsync=False` is for tests that do not cut the power: an answered COMMIT is then in the kernel, not on
        the disk. `settings` are configuration parameters that go over ours.
        """
        self.folder = folder.absolute()
        self.source = source
        self.log = self.folder / "server.log"
        self._fsync = fsync
        self._keeps_port = keeps_port
        self._settings = dict(settings or {})
        self._cluster = self.folder / "cluster"
        self._password_file = self.folder / "password"
        self._bin: Path | None = None
        self._owner: Owner | None = None
        self._port = 0
        self._password = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`postgresql://postgres:password@127.0.0.1:port/gateway`; a new start may change the port."""
        return self.url_of("gateway")

    def url_of(self, database: str) -> str:
        """The address of one database of this server."""
        return f"postgresql://{SUPERUSER}:{self._password}@127.0.0.1:{self._port}/{database}"

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """The server takes connections, and the database `gateway` exists. Main thread only.

        Raises:
            BinaryMissing: the installation that `source` names is not there.
            FolderUnusable: the folder cannot be made, or the server's user cannot reach it.
            ServerFailed: it ended or was not ready in time; carries its last log lines. Nothing is left
                running.
        """
        if self.is_running:
            raise RuntimeError("the private PostgreSQL runs already")
        self._prepare()
        is_new = not (self._cluster / "PG_VERSION").exists()
        if is_new:
            self._make_cluster()
        self._password = self._password_file.read_text().strip()
        end_orphan(self._cluster / "postmaster.pid", self._cluster, signal.SIGINT, STOP_SECONDS_MAX)
        for attempt in range(1, PORT_ATTEMPTS_MAX + 1):
            self._launch()
            try:
                self._wait_ready()
            except ServerFailed as exc:
                if attempt < PORT_ATTEMPTS_MAX and lost_port(exc.log_lines):
                    continue
                raise
            break
        if is_new:
            self.create_database("gateway")

    def create_database(self, name: str, template: str = "template1") -> str:
        """The database exists, a copy of the template; returns its URL."""
        self._statement(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """The database is gone, and who was connected to it is not any more. Safe to repeat."""
        self._statement(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def stop(self) -> int | None:
        """The server has written its files and ended; returns its exit code, None when it was not started.

        Clients are disconnected at once ("fast"); who takes longer than `STOP_SECONDS_MAX` to leave is not
        waited for. Safe to repeat, in any thread.
        """
        if self._process is None:
            return None
        return end_child(self._process, [(signal.SIGINT, STOP_SECONDS_MAX), (signal.SIGQUIT, STOP_SECONDS_MAX)])

    def _prepare(self) -> None:
        """The folder belongs to the user that the server will be; that user can run the executables."""
        self._owner = unprivileged_owner()
        try:
            make_private(self.folder)
            if self._owner is not None:
                os.chown(self.folder, self._owner.uid, self._owner.gid)
        except OSError as exc:
            raise FolderUnusable(f"the folder {self.folder} cannot be used: {exc.strerror}") from exc
        installation = find_postgres(self.source)
        self._bin = installation if self._owner is None else reachable_copy(installation, self.folder, self._owner)

    def _make_cluster(self) -> None:
        """A new cluster stands in `cluster/`, in the place of what a crash left half made."""
        self._password_file.write_text(secrets.token_urlsafe(24) + "\n")
        self._password_file.chmod(0o600)
        if self._owner is not None:
            os.chown(self._password_file, self._owner.uid, self._owner.gid)
        options = ["--auth=scram-sha-256", f"--pwfile={self._password_file}", f"--username={SUPERUSER}"]
        options += ["--encoding=UTF8", "--locale=C", *([] if self._fsync else ["--no-sync"])]
        made = self._start_tool("initdb", f"--pgdata={self._cluster}", *options)
        try:
            made.wait(INITDB_SECONDS_MAX)
        except subprocess.TimeoutExpired as exc:
            raise self._failed(f"initdb took longer than {INITDB_SECONDS_MAX:.0f} s") from exc
        finally:
            end_child(made, [(signal.SIGTERM, STOP_SECONDS_MAX)])
        if made.returncode != 0:
            raise self._failed("initdb failed")

    def _launch(self) -> None:
        if not (self._port and self._keeps_port):
            self._port = free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": str(self.folder),
            "unix_socket_permissions": "0700",
            "fsync": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
            "logging_collector": "off",
        } | self._settings
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._process = self._start_tool("postgres", "-D", str(self._cluster), *options)

    def _wait_ready(self) -> None:
        """PostgreSQL writes its state into line 8 of its pid file; its own pg_ctl waits in this way too."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        try:
            while not self._is_ready():
                if not self.is_running:
                    raise self._failed("postgres ended at its start")
                if time.monotonic() > deadline:
                    raise self._failed(f"postgres was not ready in {READY_SECONDS_MAX:.0f} s")
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _statement(self, sql: str) -> None:
        """One administrative statement, run by the installation's own psql: the launcher needs no driver."""
        command = [
            str(self._tool("psql")),
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--command",
            sql,
        ]
        ran = subprocess.run(
            [*command, "--host=127.0.0.1", f"--port={self._port}", f"--username={SUPERUSER}", "postgres"],
            env={**os.environ, "PGPASSWORD": self._password},
            capture_output=True,
            text=True,
            timeout=QUERY_SECONDS_MAX,
            check=False,
        )
        if ran.returncode != 0:
            raise ServerFailed(f"{sql} failed", self.log, ran.stderr.splitlines())

    def _start_tool(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        return start_child(
            [str(self._tool(name)), *options],
            folder=self.folder,
            log=self.log,
            death_signal=signal.SIGINT,
            owner=self._owner,
            environment={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
        )

    def _tool(self, name: str) -> Path:
        if self._bin is None:
            raise RuntimeError("the private PostgreSQL has not been started")
        return self._bin / name

    def _failed(self, what: str) -> ServerFailed:
        return ServerFailed(what, self.log, last_lines(self.log))
