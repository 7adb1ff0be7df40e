"""What the gateway started is kept alive: a private Redis or a worker that ends while it works is started again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

import structlog

from gateway.loop import Job, doubled_seconds

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.1  # between two looks at the process
# A server that lived for long is started again at once. Each that ended soon doubles the pause before the next, so that a
# server that can not live (a full disk, a damaged file) costs a start every ten seconds at most.
STEADY_S: Final = 10.0
PAUSE_S_MIN: Final = 0.1
PAUSE_S_MAX: Final = 10.0


class Mortal(Protocol):
    """What is needed of a process that is kept alive."""

    @property
    def has_ended(self) -> bool:
        """Whether it ended though nobody stopped it."""
        ...

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process that ended, negative where a signal ended it."""
        ...

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        ...

    def relaunch(self) -> None:
        """The process is started again."""
        ...


class Revival:
    """Starts it again: a private Redis with the data of its file; the connection and the shard come back by themselves.

    `step` must be called in the main thread, as the server ends with the thread that started it.
    """

    def __init__(
        self,
        mortal: Mortal,
        *,
        noun: str = "private_redis",
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """It has just been started. `noun` and `name` are for the log; `jitter` gives numbers in [0, 1)."""
        self._mortal = mortal
        self._noun = noun
        self._log = log.bind(**{noun: name}) if name else log
        self._clock = clock
        self._jitter = jitter
        self._started_s = clock()
        self._short_lives = 0
        self._due_s: float | None = None

    async def step(self) -> int:
        """One look: 1 when the server had ended and its process was started again. Raises EmbeddedError, OSError."""
        if not self._mortal.has_ended:
            return 0
        now_s = self._clock()
        if self._due_s is None:
            self._due_s = now_s + self._next_pause_s(now_s - self._started_s)
            again_in_ms = round((self._due_s - now_s) * 1000)
            self._log.error(f"{self._noun}_ended", status=self._mortal.exit_code, again_in_ms=again_in_ms)
        if now_s < self._due_s:
            return 0
        # Set before the attempt: one that fails counts as a server that ended soon.
        self._started_s, self._due_s = now_s, None
        self._mortal.relaunch()
        self._log.warning(f"{self._noun}_started", pid=self._mortal.pid)
        return 1

    def _next_pause_s(self, lived_s: float) -> float:
        """Half of the pause for sure, half by chance."""
        if lived_s >= STEADY_S:
            self._short_lives = 0
            return 0.0
        self._short_lives += 1
        return doubled_seconds(self._short_lives, PAUSE_S_MIN, PAUSE_S_MAX) * (0.5 + 0.5 * self._jitter())


@asynccontextmanager
async def kept_alive(redis: Mortal | None) -> AsyncIterator[Callable[[], None]]:
    """Inside, a private Redis that ends is started again, until the function that is given is called: at the drain."""
    if redis is None:
        yield lambda: None
        return
    job = Job("revival", Revival(redis).step, pause_seconds=LOOK_S)
    task = asyncio.create_task(job.run(), name=job.name)
    try:
        yield job.stop
    finally:
        job.stop()
        await task
