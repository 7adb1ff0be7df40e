"""The whole crowd: at intended times in an open loop, or so many at once in a closed one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.cli.answer import RemoteFailed
from gateway.cli.play.crowd import crowd
from gateway.cli.play.invoice import clock
from gateway.cli.sale.plan import Plan
from gateway.cli.sale.schedule import intended_times

#: Buyers that are there at once, most of them waiting to pay. When so many are, the next ones come late, and the report says so.
PRESENT_MAX = 20_000
#: Buyers that are let in together when they are late, before the others get their turn.
LATE_AT_ONCE = 32

#: Plays buyer `number`, who was due at `intended`.
Play = Callable[[int, float], Awaitable[None]]


async def arrive(plan: Plan, start: float, play: Play) -> None:
    """All buyers have come and gone, or those that came in `plan.duration_seconds`.

    Raises:
        RemoteFailed: the first failure of a buyer; the others were cut off.
    """
    if plan.is_open_loop:
        await _arrive_openly(plan, start, play)
    else:
        await _arrive_closed(plan, start, play)


async def _arrive_openly(plan: Plan, start: float, play: Play) -> None:
    room = asyncio.Semaphore(PRESENT_MAX)
    late = 0

    async def buyer(number: int, intended: float) -> None:
        try:
            await play(number, intended)
        finally:
            room.release()

    try:
        async with asyncio.TaskGroup() as present:
            for number, at_seconds in enumerate(
                intended_times(plan.rate_per_second, plan.arrivals, plan.seed, plan.buyers)
            ):
                if plan.duration_seconds and at_seconds >= plan.duration_seconds:
                    break
                intended = start + at_seconds
                early, late = intended - clock(), late + 1
                if early > 0 or late >= LATE_AT_ONCE:
                    # Those who are late already come together: one in each turn of a busy loop would make them later still.
                    await asyncio.sleep(max(0.0, early))
                    late = 0
                await room.acquire()
                present.create_task(buyer(number, intended))
    except ExceptionGroup as group:
        for failure in group.exceptions:
            if isinstance(failure, RemoteFailed):
                raise failure from group
        raise


async def _arrive_closed(plan: Plan, start: float, play: Play) -> None:
    await asyncio.sleep(max(0.0, start - clock()))
    waiting = iter(range(plan.buyers))
    end = start + plan.duration_seconds if plan.duration_seconds else float("inf")

    async def one_after_the_other() -> None:
        for number in waiting:
            if clock() >= end:
                return
            await play(number, clock())

    await crowd(min(plan.concurrency, plan.buyers), one_after_the_other)
