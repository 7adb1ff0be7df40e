"""A private Redis: a Valkey or redis-server of our own, in its own folder, that nobody else can reach."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from gateway.embedded.address import Address, choose_address, lost_port
from gateway.embedded.child import end_child, last_lines, start_child
from gateway.embedded.configuration import write_configuration
from gateway.embedded.errors import FolderUnusable, ServerFailed
from gateway.embedded.folder import make_private
from gateway.embedded.orphan import end_orphan
from gateway.embedded.resp import ask

POLL_SECONDS = 0.01
ANSWER_SECONDS_MAX = 10.0
# Reading an append-only file runs at about 1 GB a minute: two minutes are a store larger than an embedded one
# should be.
LOADING_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 30.0
PORT_ATTEMPTS_MAX = 3


class PrivateRedis:
    """One server with an append-only file in `folder`, on a unix socket or a loopback port.

    The server survives a Ctrl-C in the terminal (it has a session of its own) and ends with this process,
    however that ends. The folder's lock is the caller's business (`DataFolder`). The same object may be
    started again after `stop`.

    `start` blocks, normally for 0.1 to 0.2 s, and must be called from the main thread before the event loop
    runs, or from the loop itself where such a pause is acceptable: the kernel ends the server with the
    *thread* that started it. Where a long load of a big file must not block, call `launch` there and
    `wait_ready` in any other thread. `stop` may be called from any thread.
    """

    def __init__(self, folder: Path, binary: Path, settings: Mapping[str, str] | None = None) -> None:
        """Nothing is touched before `start`. `settings` are lines of configuration that go over ours."""
        self.folder = folder.absolute()
        self.binary = binary
        self.log = self.folder / "server.log"
        self._settings = dict(settings or {})
        self._config = self.folder / "server.conf"
        self._pid_file = self.folder / "server.pid"
        self._socket = self.folder / "redis.sock"
        self._address: Address | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._is_wanted = False

    @property
    def url(self) -> str:
        """`unix:///…/redis.sock`, or `redis://:password@127.0.0.1:port/0`; a new start may change it."""
        return self.address.url

    @property
    def address(self) -> Address:
        """Where the server listens.

        Raises:
            RuntimeError: it has not been started.
        """
        if self._address is None:
            raise RuntimeError("the private Redis has not been started")
        return self._address

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the process lives; it may still be loading."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_ended(self) -> bool:
        """Whether the process ended though nobody stopped it."""
        return self._is_wanted and not self.is_running

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process that ended, negative where a signal ended it; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """The server answers, with everything that its append-only file holds.

        A server of this folder that outlived its gateway is ended first, and given the time to complete its
        files.

        Raises:
            FolderUnusable: the folder cannot be made.
            ServerFailed: it ended or did not answer in time; carries its last log lines. Nothing is left
                running.
        """
        for attempt in range(1, PORT_ATTEMPTS_MAX + 1):
            self.launch()
            try:
                self.wait_ready()
            except ServerFailed as exc:
                # Between our choice of a port and the server's, another process may have taken it.
                if self.address.socket is None and attempt < PORT_ATTEMPTS_MAX and lost_port(exc.log_lines):
                    continue
                raise
            return

    def launch(self) -> None:
        """The process is started, in milliseconds; `wait_ready` tells when it answers. Main thread only."""
        self._make_room()
        self._address = choose_address(self._socket)
        self._spawn()

    def relaunch(self) -> None:
        """As `launch`, for a server that has ended: whoever knows its address finds it there again."""
        if self._address is None:
            raise RuntimeError("the private Redis has not been started")
        self._make_room()
        self._spawn()

    def _make_room(self) -> None:
        """The folder is there, and no server nor socket of an earlier start is in it."""
        if self.is_running:
            raise RuntimeError("the private Redis runs already")
        try:
            make_private(self.folder)
            self.folder.chmod(0o700)
        except OSError as exc:
            raise FolderUnusable(f"the folder {self.folder} cannot be used: {exc.strerror}") from exc
        end_orphan(self._pid_file, self._config, signal.SIGTERM, STOP_SECONDS_MAX)
        if self._socket.is_socket():
            self._end_listener()
        self._socket.unlink(missing_ok=True)

    def _spawn(self) -> None:
        write_configuration(self._config, self.folder, self._pid_file, self.address, self._settings)
        self._process = start_child(
            [str(self.binary), str(self._config)],
            folder=self.folder,
            log=self.log,
            death_signal=signal.SIGTERM,
        )
        self._is_wanted = True

    def wait_ready(self) -> None:
        """The server answers PING. Blocks for `ANSWER_SECONDS_MAX`, for `LOADING_SECONDS_MAX` while it loads.

        Raises:
            ServerFailed: see `start`.
        """
        begun = time.monotonic()
        seconds_max = ANSWER_SECONDS_MAX
        try:
            while True:
                answer = self._ping()
                if answer == "+PONG":
                    return
                if answer.startswith("-LOADING"):
                    seconds_max = LOADING_SECONDS_MAX
                if not self.is_running:
                    raise self._failed(f"{self.binary.name} ended at its start")
                if time.monotonic() - begun > seconds_max:
                    raise self._failed(f"{self.binary.name} did not answer in {seconds_max:.0f} s ({answer})")
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> int | None:
        """The server has written its file and ended; returns its exit code, None when it was not started.

        Call it after the drain: what is asked of the server afterwards fails. Safe to repeat, in any thread.
        """
        self._is_wanted = False
        if self._process is None:
            return None
        code = end_child(self._process, [(signal.SIGTERM, STOP_SECONDS_MAX)])
        self._pid_file.unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)
        return code

    def _end_listener(self) -> None:
        """Nobody answers at our socket: a server whose pid file was removed is told to end, and waited for.

        The folder is closed to other users, so whoever answers there is a server of this folder.
        """
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while True:
            try:
                answer = ask(Address(socket=self._socket), "SHUTDOWN")
            except (FileNotFoundError, ConnectionRefusedError):
                return
            except OSError as exc:
                # To close the connection without a word is its way to say yes; the next round finds nobody.
                answer = str(exc)
            if time.monotonic() > deadline:
                raise self._failed(f"a server answers at {self._socket} and does not end ({answer})")
            time.sleep(POLL_SECONDS)

    def _ping(self) -> str:
        """What the server said, or why it said nothing."""
        try:
            return ask(self.address, "PING")
        except TimeoutError:
            # It took the connection and is too busy to answer: so it is loading.
            return "-LOADING"
        except OSError as exc:
            return str(exc)

    def _failed(self, what: str) -> ServerFailed:
        return ServerFailed(what, self.log, last_lines(self.log))
