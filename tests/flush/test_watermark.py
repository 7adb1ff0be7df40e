"""Who waits for a commit is told when it is there, when it can not come any more, or when the time is over."""

from __future__ import annotations

import asyncio

import pytest

from gateway.flush import watermark
from gateway.flush.watermark import NotReached, TooManyWaiting, Watermark


def at(epoch: int, seq: int, ends: dict[int, int] | None = None) -> Watermark:
    """A watermark under this epoch."""
    mark = Watermark()
    mark.open_under(epoch, seq, ends or {})
    return mark


async def waiting(mark: Watermark, *positions: tuple[int, int], timeout_ms: int = 60_000) -> list[asyncio.Task[None]]:
    """Tasks that wait for these positions, all of them waiting."""
    tasks = [asyncio.create_task(mark.reached(epoch, seq, timeout_ms)) for epoch, seq in positions]
    await asyncio.sleep(0)
    return tasks


async def turned() -> None:
    """Whoever was woken has run."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_watermark_covers_its_epoch_up_to_the_seq() -> None:
    """Positions of the epoch are committed up to the seq; of an ended one up to its end; of a later one never."""
    mark = at(3, 20, {1: 5, 2: 12})
    assert [mark.covers(3, seq) for seq in (20, 21)] == [True, False]
    assert [mark.covers(1, seq) for seq in (5, 6)] == [True, False]
    assert [mark.covers(2, seq) for seq in (12, 13)] == [True, False]
    assert not mark.covers(4, 1)


async def test_watermark_that_rises_wakes_in_order_those_it_reached() -> None:
    """Rising to a seq wakes everybody up to it, the earlier first, and nobody else."""
    mark, woken = at(1, 0), list[int]()

    async def wait(seq: int) -> None:
        await mark.reached(1, seq, 60_000)
        woken.append(seq)

    tasks = [asyncio.create_task(wait(seq)) for seq in (3, 1, 2, 5, 2)]
    await asyncio.sleep(0)
    assert mark.is_awaited()
    mark.rise(3)
    await turned()
    assert woken == [1, 2, 2, 3]
    mark.rise(2)  # a rise that comes late takes nothing back
    assert mark.seq == 3
    mark.rise(9)
    await asyncio.gather(*tasks)
    assert woken[-1] == 5
    assert not mark.is_awaited()
    await mark.reached(1, 9, 60_000)  # what is committed is not waited for


async def test_watermark_tells_who_waited_too_long() -> None:
    """After the timeout the commit counts as not seen; that it comes later disturbs nobody."""
    mark = at(1, 0)
    with pytest.raises(NotReached, match="in time"):
        await mark.reached(1, 1, 5)
    (patient,) = await waiting(mark, (1, 1))
    mark.rise(1)
    await patient


async def test_watermark_that_moves_to_another_epoch_judges_all_who_wait() -> None:
    """At an epoch's end those whose change it kept are told so, the others that it is over."""
    mark = at(1, 4)
    kept, lost = await waiting(mark, (1, 6), (1, 7))
    mark.open_under(2, 7, {1: 6})
    await turned()
    await kept
    with pytest.raises(NotReached, match="ended before"):
        await lost
    assert not mark.is_awaited()
    assert mark.covers(2, 7)


async def test_watermark_opened_again_under_its_epoch_keeps_who_waits() -> None:
    """The same epoch, opened again, has ended for nobody: whoever waits goes on waiting, or is told what is committed by now."""
    mark = at(1, 4)
    reached, patient = await waiting(mark, (1, 5), (1, 6))
    mark.open_under(1, 5, {})
    await turned()
    await reached
    assert not patient.done()
    mark.rise(6)
    await patient


async def test_watermark_refuses_to_wait_for_an_ended_epoch() -> None:
    """What an ended epoch did not keep will never come, and is told at once; what it kept is there."""
    mark = at(2, 10, {1: 6})
    await mark.reached(1, 6, 60_000)
    with pytest.raises(NotReached, match="over"):
        await mark.reached(1, 7, 60_000)


async def test_watermark_bounds_who_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than the bound is refused at once, and may wait when others are done."""
    monkeypatch.setattr(watermark, "WAITERS_MAX", 2)
    mark = at(1, 0)
    tasks = await waiting(mark, (1, 1), (1, 2))
    with pytest.raises(TooManyWaiting):
        await mark.reached(1, 3, 60_000)
    mark.rise(1)
    tasks += await waiting(mark, (1, 3))
    mark.rise(3)
    await asyncio.gather(*tasks)


async def test_watermark_forgets_who_was_cancelled() -> None:
    """A request whose client went away leaves nothing behind that a rise could stumble over."""
    mark = at(1, 0)
    gone, stays = await waiting(mark, (1, 1), (1, 1))
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    mark.rise(1)
    await stays
    assert not mark.is_awaited()
