"""A real gateway in a process of its own, seen only from outside: environment, signals, exit status, HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

COMMAND = (str(Path(sys.executable).parent / "gateway"),)
START_SECONDS_MAX = 40
STOP_SECONDS_MAX = 10
#: Settings of a gateway whose times are not the matter: a machine may stand still for seconds. The fault scenarios go without.
PATIENCE = {
    "GATEWAY_ACK__TIMEOUT_MS": "30000",
    "GATEWAY_DURABLE__POOL_TIMEOUT_MS": "30000",
    "GATEWAY_DURABLE__STATEMENT_TIMEOUT_MS": "30000",
    "GATEWAY_HTTP__BODY_TIMEOUT_MS": "60000",
    "GATEWAY_REDIS__COMMAND_TIMEOUT_MS": "30000",
    "GATEWAY_REDIS__CONNECT_TIMEOUT_MS": "30000",
}
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


class Gateway:
    """A gateway with one data folder and one set of settings; it may be started, ended and started again."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None, command: Sequence[str] = COMMAND) -> None:
        """Nothing runs yet. `settings` are variables of its environment; `command` is what `serve` is said to."""
        self._command = command
        self.folder = folder
        self.settings = settings or {}
        self.stop_seconds = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._address = ""
        self._starts = 0

    @property
    def data_dir(self) -> Path:
        """The folder that survives the process."""
        return self.folder / "data"

    @property
    def address(self) -> str:
        """Where it listens, e.g. `http://127.0.0.1:40123`; another one after each start."""
        assert self._address, "not started"
        return self._address

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that the current process has written."""
        return self._log_path.read_text(errors="replace")

    @property
    def _log_path(self) -> Path:
        return self.folder / f"log-{self._starts}"

    def launch(self, wrapper: Sequence[str] = ()) -> None:
        """The process exists; whether it will serve is not known yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._starts += 1
        self._address = ""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        environment |= {"GATEWAY_DATA_DIR": str(self.data_dir), "GATEWAY_PORT": "0"} | self.settings
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*wrapper, *self._command, "serve"],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self, wrapper: Sequence[str] = ()) -> None:
        """It is ready to serve."""
        self.launch(wrapper)
        end = time.monotonic() + START_SECONDS_MAX
        while not self._is_ready():
            assert self._process is not None
            assert self._process.poll() is None, f"the start failed:\n{self.log}"
            assert time.monotonic() < end, f"not ready after {START_SECONDS_MAX} s:\n{self.log}"
            time.sleep(0.02)

    def refused_start(self) -> tuple[int, str]:
        """The exit status and the words of a start that is expected to fail."""
        self.launch()
        return self.wait(START_SECONDS_MAX), self.log

    def signal(self, number: signal.Signals) -> None:
        """The process has got the signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS_MAX) -> int:
        """The process has ended by itself; returns its exit status. `stop_seconds` tells how long that took."""
        assert self._process is not None
        began = time.monotonic()
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the process did not end in {seconds} s:\n{self.log}") from None
        self.stop_seconds = time.monotonic() - began
        self._process = None
        return status

    def stop(self) -> int:
        """It has drained and ended after SIGTERM; returns its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """It has ended without a chance to clean up (kill -9)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """It has drained, ended with status 0 and serves again."""
        assert self.stop() == 0, self.log
        self.start()

    def close(self) -> None:
        """Nothing of it runs any more, whatever the test left."""
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def _is_ready(self) -> bool:
        found = ADDRESS.search(self.log)
        if found is None:
            return False
        self._address = found[0]
        try:
            with urllib.request.urlopen(f"{self._address}/readyz", timeout=5) as answer:  # noqa: S310 - our gateway
                return bool(answer.status == 200)
        except urllib.error.HTTPError as problem:
            problem.close()
            return False
        except OSError:
            return False
