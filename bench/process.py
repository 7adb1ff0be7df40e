"""One HTTP server of this run, as a process of its own.

It has a session of its own and the leash of `gateway.embedded.child`: it ends with this run, however this run
ends.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from bench.failure import ServerFailure
from bench.processors import give_room, share
from gateway.embedded.child import end_child, last_lines, start_child

ROOT = Path(__file__).resolve().parent.parent
POLL_SECONDS = 0.05
READY_SECONDS_MAX = 60.0
# The gateway promises to drain in under 10 s.
STOP_SECONDS_MAX = 20.0


class Server:
    """A process that serves HTTP on `port` of 127.0.0.1 and is ready when `ready_path` answers 200."""

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        *,
        port: int,
        ready_path: str,
        environment: Mapping[str, str],
        is_alone: bool = True,
    ) -> None:
        """Nothing is touched before `start`. `is_alone` gives it the web worker's processor, and no other."""
        self._is_alone = is_alone
        self.name = name
        self.port = port
        self._command = command
        self._folder = folder
        self._ready_path = ready_path
        self._environment = dict(environment)
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The server answers.

        Raises:
            ServerFailure: it ended or was not ready in time; carries its last log lines. Nothing is left
            running.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = start_child(
            self._command,
            folder=self._folder,
            log=self._log,
            death_signal=signal.SIGTERM,
            environment=self._environment,
        )
        (give_room if self._is_alone else share)(self._process.pid)
        deadline = time.monotonic() + READY_SECONDS_MAX
        try:
            while not self._is_ready():
                if self._process.poll() is not None:
                    raise self.failure(f"ended at its start with code {self._process.returncode}")
                if time.monotonic() > deadline:
                    raise self.failure(f"was not ready in {READY_SECONDS_MAX:.0f} s")
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def stop(self) -> None:
        """The server has ended. Safe to repeat."""
        if self._process is not None:
            end_child(self._process, [(signal.SIGTERM, STOP_SECONDS_MAX)])

    def kill(self) -> None:
        """Kill -9: the process is gone without a chance to clean up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def renew(self) -> None:
        """The server is another process. Raises as `start` does."""
        self.stop()
        self.start()

    def failure(self, what: str) -> ServerFailure:
        """The error that says what happened and what the server logged last."""
        lines = "".join(f"\n  {line}" for line in last_lines(self._log)) or "\n  (empty)"
        return ServerFailure(f"{self.name} {what}; the end of its log:{lines}")

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2.0)
        try:
            connection.request("GET", self._ready_path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def own_environment() -> dict[str, str]:
    """Our environment without the gateway settings of the caller's shell."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}


def bench_environment() -> dict[str, str]:
    """As `own_environment`, for a program of this package: it is not installed, so it must be told where it is."""
    return own_environment() | {"PYTHONPATH": str(ROOT)}
