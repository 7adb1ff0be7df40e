"""The time of the event loop, which stands still until a test moves it: what is bounded by time is met at will, on any machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

UNTIL_SECONDS_MAX = 30
#: Turns of the loop in which everything runs that a timer has set off.
TURNS = 20


class Clock:
    """What the loop asks for the time. Nothing here waits for timers: they are due when `move` says so."""

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s

    def time(self) -> float:
        """In seconds, as `loop.time`."""
        return self._now_s

    async def move(self, seconds: float) -> None:
        """So much time is over, and what was due meanwhile has run."""
        self._now_s += seconds
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object]) -> None:
        """It has come to that, without any time of the loop. Raises AssertionError after `UNTIL_SECONDS_MAX` of the real one."""
        end = time.monotonic() + UNTIL_SECONDS_MAX
        while not condition():
            assert time.monotonic() < end, "it did not come to that"
            await asyncio.sleep(0)
