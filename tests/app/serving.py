"""`gateway serve` as a process of its own, on given stores."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.service.stores import Stores

START_S_MAX = 30.0
STOP_S_MAX = 10.0


class Served:
    """The process, its address once it serves, and its log lines."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.port = 0
        self._log = log

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first log line of this event, when it is there."""
        until_s = time.monotonic() + START_S_MAX
        while time.monotonic() < until_s:
            for line in self.lines():
                if line["event"] == event:
                    return line
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"no line {event!r} in {START_S_MAX} s:\n{self._log.read_text()}")

    def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """It got the signal and ended with status 0; returns how many seconds that took. Fails after 10."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        try:
            status = self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"it still runs {STOP_S_MAX} s after {number.name}:\n{self._log.read_text()}"
            ) from None
        assert status == 0, f"status {status}:\n{self._log.read_text()}"
        return time.monotonic() - began_s


@contextmanager
def served(stores: Stores, folder: Path, *, is_awaited: bool = True, **settings: str) -> Iterator[Served]:
    """The process runs, and serves if it is awaited; at the end it is gone."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    environment |= {
        "GATEWAY_REDIS_URL": stores.redis_url,
        "GATEWAY_DATABASE_URL": stores.database_url,
        "GATEWAY_PORT": "0",
        # A machine that stands still for a moment is not what these tests are about.
        "GATEWAY_REDIS__COMMAND_TIMEOUT_MS": "20000",
        "GATEWAY_REDIS__CONNECT_TIMEOUT_MS": "20000",
        "GATEWAY_DURABLE__POOL_TIMEOUT_MS": "20000",
        "GATEWAY_DURABLE__STATEMENT_TIMEOUT_MS": "20000",
        "GATEWAY_ACK__TIMEOUT_MS": "5000",
        **settings,
    }
    log = folder / "gateway.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            env=environment,
            stdout=sink,
            stderr=sink,
            stdin=subprocess.DEVNULL,
        )
    gateway = Served(process, log)
    try:
        if is_awaited:
            gateway.port = int(gateway.wait_for("serving")["address"].rpartition(":")[2])
        yield gateway
    finally:
        process.kill()
        process.wait()
