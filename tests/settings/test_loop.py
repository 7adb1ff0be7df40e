from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest
import structlog

from gateway import metrics
from gateway.loop import Job, install_uvloop, new_event_loop

HOUR = 3600.0


def scripted(*turns: int | Exception) -> tuple[Callable[[], Awaitable[int]], list[int]]:
    """A step that does these turns, then nothing; and the list of turns begun."""
    begun: list[int] = []

    async def step() -> int:
        begun.append(len(begun))
        turn = turns[begun[-1]] if begun[-1] < len(turns) else 0
        if isinstance(turn, Exception):
            raise turn
        return turn

    return step, begun


async def until(condition: Callable[[], bool]) -> None:
    """The condition holds, in time."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


async def settle() -> None:
    """Everything that can run without time passing has run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def ended(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(30):
        await task


async def test_run_repeats_at_once_while_there_is_work_and_pauses_then() -> None:
    """A turn that did something is followed by another, one that did nothing by the pause."""
    step, begun = scripted(3, 1, 0)
    job = Job("test_work", step, pause_seconds=HOUR)
    task = asyncio.create_task(job.run())
    await settle()
    assert len(begun) == 3
    job.stop()
    await ended(task)
    assert len(begun) == 3


async def test_run_wake_cuts_the_pause_short() -> None:
    """Whoever sets `wake` has the next turn now."""
    step, begun = scripted()
    job = Job("test_wake", step, pause_seconds=HOUR)
    task = asyncio.create_task(job.run())
    await settle()
    job.wake.set()
    await settle()
    assert len(begun) == 2
    job.stop()
    await ended(task)


async def test_run_wake_during_a_step_is_not_lost() -> None:
    """Work that arrives while a step runs is not slept over."""
    begun = []

    async def step() -> int:
        begun.append(1)
        if len(begun) == 1:
            job.wake.set()
        return 0

    job = Job("test_wake_in_step", step, pause_seconds=HOUR)
    task = asyncio.create_task(job.run())
    await settle()
    assert len(begun) == 2
    job.stop()
    await ended(task)


async def test_run_pause_ends_by_itself() -> None:
    """Without being woken the job takes its next turn after the pause."""
    step, begun = scripted()
    job = Job("test_pause", step, pause_seconds=0.001)
    task = asyncio.create_task(job.run())
    await until(lambda: len(begun) == 3)
    job.stop()
    await ended(task)


async def test_run_step_that_fails_is_logged_counted_and_tried_again() -> None:
    """A fault is told each time with the job's name, and the job goes on."""
    step, begun = scripted(ValueError("one"), ValueError("two"), 5, 0)
    job = Job("test_faults", step, pause_seconds=HOUR, retry_seconds_max=0.0)
    before = metrics.JOB_ERRORS["test_faults"]._value.get()
    with structlog.testing.capture_logs() as lines:
        task = asyncio.create_task(job.run())
        await until(lambda: len(begun) == 4)
        job.stop()
        await ended(task)
    assert [(line["event"], line["job"], line["failures"]) for line in lines] == [
        ("job_step_failed", "test_faults", 1),
        ("job_step_failed", "test_faults", 2),
    ]
    assert all(line["exc_info"] for line in lines)
    assert metrics.JOB_ERRORS["test_faults"]._value.get() == before + 2
    assert job.failures == 0


async def test_run_after_a_failure_is_not_woken_but_stops_at_once() -> None:
    """Waking a job whose store is away does not make it a busy loop; a stop does not wait for the retry."""
    step, begun = scripted(ValueError("away"), ValueError("away"))
    job = Job("test_backoff", step, pause_seconds=0.0, retry_seconds_max=HOUR, jitter=lambda: 1.0)
    job.failures = 20
    with structlog.testing.capture_logs():
        task = asyncio.create_task(job.run())
        await settle()
        job.wake.set()
        await settle()
        assert len(begun) == 1
        job.stop()
        await ended(task)
    assert len(begun) == 1


def test_retry_seconds_double_to_the_maximum_with_jitter() -> None:
    """The pause grows, is bounded for any number of failures, and half of it is chance."""
    step, _ = scripted()
    sure = Job("test_retry", step, pause_seconds=0.0, retry_seconds_max=5.0, jitter=lambda: 0.0)
    most = Job("test_retry", step, pause_seconds=0.0, retry_seconds_max=5.0, jitter=lambda: 1.0)
    pauses = []
    for sure.failures in (1, 2, 3, 8, 10_000):
        most.failures = sure.failures
        assert most.retry_seconds() == 2 * sure.retry_seconds()
        pauses.append(most.retry_seconds())
    assert pauses == [0.05, 0.1, 0.2, 5.0, 5.0]


async def test_stop_lets_the_step_end_first() -> None:
    """The step that is under way is finished, no other begins."""
    entered, go = asyncio.Event(), asyncio.Event()
    finished = []

    async def step() -> int:
        entered.set()
        await go.wait()
        finished.append(1)
        return 1

    job = Job("test_stop", step, pause_seconds=HOUR)
    task = asyncio.create_task(job.run())
    await entered.wait()
    job.stop()
    await settle()
    assert not task.done()
    go.set()
    await ended(task)
    assert finished == [1]


async def test_stop_before_run_means_no_step() -> None:
    """A job that was stopped before it began does nothing."""
    step, begun = scripted()
    job = Job("test_stopped", step, pause_seconds=HOUR)
    job.stop()
    await ended(asyncio.create_task(job.run()))
    assert begun == []


async def test_run_with_endless_work_lets_others_run() -> None:
    """A step that never waits and always finds work does not starve the loop."""

    async def step() -> int:
        return 1

    job = Job("test_endless", step, pause_seconds=HOUR)
    task = asyncio.create_task(job.run())
    await settle()
    job.stop()
    await ended(task)


async def test_run_is_ended_by_cancellation() -> None:
    """Cancellation is no failure of the step: it passes."""
    step, _ = scripted()
    task = asyncio.create_task(Job("test_cancel", step, pause_seconds=HOUR).run())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_run_survives_a_cancelled_future_inside_its_step() -> None:
    """A connection that is closed cancels what waits on it: the step failed, the job goes on."""
    begun = []

    async def step() -> int:
        begun.append(1)
        if len(begun) == 1:
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            future.cancel()
            return await future
        return 0

    job = Job("test_cancelled_inside", step, pause_seconds=HOUR, retry_seconds_max=0.0)
    with structlog.testing.capture_logs() as lines:
        task = asyncio.create_task(job.run())
        await until(lambda: len(begun) == 2)
        job.stop()
        await ended(task)
    assert [line["event"] for line in lines] == ["job_step_failed"]


async def test_run_is_ended_by_cancellation_during_a_step() -> None:
    """The step is interrupted and the job ends; it is no fault to be logged or tried again."""
    entered = asyncio.Event()

    async def step() -> int:
        entered.set()
        await asyncio.Event().wait()
        return 0

    job = Job("test_cancel_step", step, pause_seconds=HOUR)
    task = asyncio.create_task(job.run())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    assert job.failures == 0


def test_new_event_loop_is_uvloops_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `speed` is used when it is there and not missed when it is not."""
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert isinstance(runner.get_loop(), uvloop.Loop)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert not isinstance(runner.get_loop(), uvloop.Loop)


def test_install_uvloop_makes_later_loops_uvloops(monkeypatch: pytest.MonkeyPatch) -> None:
    """`asyncio.run` then runs on uvloop; without the package nothing changes."""
    uvloop = pytest.importorskip("uvloop")
    before = asyncio.get_event_loop_policy()
    try:
        assert install_uvloop()
        with asyncio.Runner() as runner:
            assert isinstance(runner.get_loop(), uvloop.Loop)
    finally:
        asyncio.set_event_loop_policy(before)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert not install_uvloop()
    assert asyncio.get_event_loop_policy() is before
