"""Stand-ins for a gateway: small Python processes that start private servers and then meet their fate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
GONE_SECONDS_MAX = 30.0

REDIS_GATEWAY = """
import sys, time
from pathlib import Path
from gateway.embedded import PrivateRedis
server = PrivateRedis(Path(sys.argv[1]), Path(sys.argv[2]))
server.start()
"""

POSTGRES_GATEWAY = """
import sys, time
from pathlib import Path
from gateway.embedded import PrivatePostgres
server = PrivatePostgres(Path(sys.argv[1]), sys.argv[2], fsync=False)
server.start()
"""

LOCKING_GATEWAY = """
import sys, time
from pathlib import Path
from gateway.embedded import DataFolder
folder = DataFolder(Path(sys.argv[1]))
folder.lock()
server = folder
server.pid = 0
"""

WAIT_FOR_EVER = """
import signal
signal.signal(signal.SIGINT, lambda number, frame: print("interrupted", flush=True))
print(server.pid, flush=True)
while True:
    time.sleep(60)
"""


class Gateway:
    """A running stand-in and the pid of the server that it started."""

    def __init__(self, process: subprocess.Popen[str], server_pid: int) -> None:
        self.process = process
        self.server_pid = server_pid

    def kill(self) -> None:
        """It ended as by a crash: no line of its code ran any more."""
        self.process.kill()
        self.process.wait()

    def interrupt_group(self) -> str:
        """Its whole process group got what a Ctrl-C sends; returns what it says to that."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.read_line()

    def read_line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def running_gateway(source: str, *arguments: object) -> Iterator[Gateway]:
    """A stand-in that has started its server, in a process group of its own as a terminal would give it."""
    process = subprocess.Popen(
        [sys.executable, "-c", source + WAIT_FOR_EVER, *map(str, arguments)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    gateway = Gateway(process, 0)
    try:
        gateway.server_pid = int(gateway.read_line())
        yield gateway
    finally:
        gateway.kill()
        # The folder is about to be removed: a server that is still ending would put files into it.
        if gateway.server_pid:
            seconds_until_gone(gateway.server_pid)
        if process.stdout is not None:
            process.stdout.close()


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not reaped by its new parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def seconds_until_gone(pid: int) -> float:
    """How long the process still lived.

    Raises:
        AssertionError: longer than `GONE_SECONDS_MAX`.
    """
    begun = time.monotonic()
    while is_alive(pid):
        assert time.monotonic() - begun < GONE_SECONDS_MAX, f"process {pid} still lives"
        time.sleep(0.01)
    return time.monotonic() - begun
