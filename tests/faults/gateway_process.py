"""What happens to the process of a gateway that was armed: see `armed.py`."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from typing import Final

import psutil

from tests.acceptance.gateways import Gateway
from tests.faults import armed
from tests.faults.history import CHANGES
from tests.faults.site import Site

PASSED_SECONDS_MAX: Final = 30.0
TOLD_SECONDS_MAX: Final = 30.0


def arm(gateway: Gateway, name: str, nth: int, how: str) -> None:
    """From its next start on the gateway is armed."""
    gateway.settings[armed.VARIABLE] = f"{name}:{nth}:{how}"


def disarm(gateway: Gateway) -> None:
    """Its next start is one like any other."""
    gateway.settings.pop(armed.VARIABLE, None)


def is_ended(gateway: Gateway) -> bool:
    """Whether its process is dead, by whatever."""
    return not psutil.pid_exists(gateway.pid) or psutil.Process(gateway.pid).status() == psutil.STATUS_ZOMBIE


def is_frozen(gateway: Gateway) -> bool:
    """Whether its process stands still after SIGSTOP."""
    return not is_ended(gateway) and psutil.Process(gateway.pid).status() == psutil.STATUS_STOPPED


async def at_point(gateway: Gateway, seconds: float = PASSED_SECONDS_MAX) -> bool:
    """Whether it has ended or frozen itself by now, or within the time; then the instant is now."""
    end_s = time.monotonic() + seconds
    while not (is_ended(gateway) or is_frozen(gateway)):
        if time.monotonic() > end_s:
            return False
        await asyncio.sleep(0.005)
    assert "crash point" in gateway.log, f"it ended by itself:\n{gateway.log[-3000:]}"
    return True


async def restart(gateway: Gateway) -> float:
    """It has ended, and serves again, not armed any more; returns how many seconds the start took."""
    assert await asyncio.to_thread(gateway.wait) == -signal.SIGKILL
    disarm(gateway)
    began_s = time.monotonic()
    await asyncio.to_thread(gateway.start)
    return time.monotonic() - began_s


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process has of the machine: memory in MB, open files, tasks of its loop."""

    memory_mb: float
    files: int
    tasks: int

    def __str__(self) -> str:
        return f"{self.memory_mb:.0f} MB, {self.files} files, {self.tasks} tasks"


async def footprint(gateway: Gateway) -> Footprint:
    """Of a gateway that was started by `armed.py`, at this moment."""
    told = gateway.log.count("\ntasks ")
    gateway.signal(signal.SIGUSR2)
    end_s = time.monotonic() + TOLD_SECONDS_MAX
    while gateway.log.count("\ntasks ") == told:
        assert time.monotonic() < end_s, "the loop of the gateway does not turn"
        await asyncio.sleep(0.02)
    tasks = int(gateway.log.rsplit("\ntasks ", 1)[1].split("\n")[0])
    process = psutil.Process(gateway.pid)
    return Footprint(process.memory_info().rss / 2**20, process.num_fds(), tasks)


def first_change_s(site: Site, since_s: float) -> float:
    """Seconds from the instant until the first change that was sent after it had succeeded."""
    done = [
        call.end_s - since_s
        for call in site.history.calls
        if call.operation in CHANGES and call.is_done and call.start_s > since_s
    ]
    return min(done, default=float("inf"))
