"""Background jobs: a step that is repeated, survives its failures and ends when asked to."""

from __future__ import annotations

import asyncio
import random
import warnings
from collections.abc import Awaitable, Callable

import structlog

from gateway import metrics

log = structlog.get_logger("gateway.loop")

RETRY_SECONDS_MIN = 0.05


class Job:
    """One background job. `run` repeats `step`, which does one turn and says how much it did.

    A step that did something (> 0) is repeated at once, as there may be more; one that did nothing is
    followed by `pause_seconds`, which `wake` cuts short. A test calls `step` itself and never waits.

    A step that raises is logged with the job's name, counted in `gateway_job_errors_total` and tried again
    after a pause that doubles from 50 ms to `retry_seconds_max`, with jitter. `failures` is the number of
    steps that failed in a row, for a readiness check. Only cancellation ends `run` from outside.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[int]],
        *,
        pause_seconds: float,
        retry_seconds_max: float = 5.0,
        expected: tuple[type[Exception], ...] = (),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Nothing runs yet. `jitter` gives numbers in [0, 1).

        `expected` are failures of the stores: they are told in a line, where any other brings its traceback.
        """
        self.name = name
        self.step = step
        self.pause_seconds = pause_seconds
        self.retry_seconds_max = retry_seconds_max
        self.failures = 0
        self.wake = asyncio.Event()
        self._expected = expected
        self._jitter = jitter
        self._stopping = asyncio.Event()
        self._errors = metrics.JOB_ERRORS[name]

    async def run(self) -> None:
        """Returns after `stop`, when the step that was under way has ended. Runs once per job."""
        while not self._stopping.is_set():
            # Cleared before the step, not after it: what arrives during the step must not be slept over.
            self.wake.clear()
            done = await self._attempt()
            if done is None:
                # For `stop` alone: while a store is away, being woken by every request would make this a busy
                # loop.
                await self._pause(self._stopping, self.retry_seconds())
            elif done > 0:
                # A step whose awaits never suspend must still let requests through.
                await asyncio.sleep(0)
            elif not self._stopping.is_set():
                await self._pause(self.wake, self.pause_seconds)

    def stop(self) -> None:
        """`run` ends after its current step; safe to repeat, also before `run`."""
        self._stopping.set()
        self.wake.set()

    def retry_seconds(self) -> float:
        """The pause after the failures so far: half of the doubled time for sure, half by chance."""
        return doubled_seconds(self.failures, RETRY_SECONDS_MIN, self.retry_seconds_max) * (0.5 + 0.5 * self._jitter())

    async def _attempt(self) -> int | None:
        """What the step did, or None if it failed."""
        try:
            done = await self.step()
        except (Exception, asyncio.CancelledError) as exc:
            # The one place that catches everything: a job must outlive any fault of its stores, and tells
            # each one.
            if isinstance(exc, asyncio.CancelledError) and is_cancelled():
                raise
            self.failures += 1
            self._errors.inc()
            if isinstance(exc, self._expected):
                log.error("job_step_failed", job=self.name, failures=self.failures, reason=str(exc))
            else:
                log.exception("job_step_failed", job=self.name, failures=self.failures)
            return None
        self.failures = 0
        return done

    async def _pause(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event or the end of the time."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


def is_cancelled() -> bool:
    """Somebody cancelled this task; not merely a future that it awaited, say by the end of a connection."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def doubled_seconds(failures: int, seconds_min: float, seconds_max: float) -> float:
    """The pause after so many failures in a row: the least after the first, twice as long after each other one, up to the most."""
    # The exponent is bounded because 2.0 ** 1024 overflows after a night of failures.
    return min(seconds_max, seconds_min * 2.0 ** min(max(failures - 1, 0), 30))


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop where it is installed (the extra `speed`), else of asyncio.

    For `asyncio.Runner(loop_factory=new_event_loop)`. This way has no global effect and is the one that
    Python 3.14 and later keep.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def install_uvloop() -> bool:
    """Loops made from now on are uvloop's; False, and nothing changed, where it is not installed."""
    try:
        import uvloop
    except ImportError:
        return False
    with warnings.catch_warnings():
        # From Python 3.12 on uvloop says that policies will end with 3.16; until then this is what
        # `asyncio.run` obeys.
        warnings.simplefilter("ignore", DeprecationWarning)
        uvloop.install()
    return True
