"""While one batch is on its way to the durable store the next is made: in order, of its own epoch, and never two on their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.domain.errors import HotStoreUnavailable
from gateway.durable.ledger import Batch, LedgerUnavailable
from gateway.flush.upcoming import Upcoming
from gateway.hot.log import ChainBroken
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

BATCH_MAX = 2
EVENTS = 7  # of the fixture's log, the shard's opening among them


@pytest.fixture
async def behind(stores: Stores) -> AsyncIterator[Gateway]:
    """A gateway whose log holds more than three small batches, of which none is committed."""
    async with running(replace(stores, batch_max=BATCH_MAX), is_flushing=False) as gateway:
        for number in range(EVENTS - 1):
            await gateway.put(f"sku-{number}", 10)
        gateway.flusher._scan_cursor = None  # what a process before this one left is not what these tests are about
        yield gateway


async def checkpoint(gateway: Gateway) -> int:
    """Up to where the durable store has the log."""
    return (await gateway.ledger.read_shard(0)).checkpoint


async def test_upcoming_batch_is_made_while_one_is_on_its_way(behind: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append that waits for the next batch's reading is not waited for by it; no two appends are on their way at once."""
    append, read = behind.ledger.append, Upcoming._read
    is_read, told, under_way = asyncio.Event(), list[str](), 0

    async def reading(upcoming: Upcoming) -> bool:
        has_read = await read(upcoming)
        told.append(f"read {upcoming._seq + 1}" if has_read else "end")
        is_read.set()
        return has_read

    async def watched(batch: Batch) -> bool:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        told.append(f"append {batch.first_seq}")
        if batch.last_seq < EVENTS:
            is_read.clear()
            async with asyncio.timeout(10):
                await is_read.wait()
        done = await append(batch)
        under_way -= 1
        return done

    monkeypatch.setattr(Upcoming, "_read", reading)
    monkeypatch.setattr(behind.ledger, "append", watched)
    await behind.flush()
    assert told[:-1] == ["read 1", "append 1", "read 3", "append 3", "read 5", "append 5", "read 7", "append 7"]
    assert await behind.violations() == []


async def test_upcoming_batch_is_of_the_next_turn(behind: Gateway) -> None:
    """A turn commits what it began with; the batch that it made meanwhile is the next turn's, who waits is told by either."""
    assert await behind.turn() == BATCH_MAX
    assert await checkpoint(behind) == behind.watermark.seq == BATCH_MAX
    assert await behind.turn() == BATCH_MAX
    assert await checkpoint(behind) == behind.watermark.seq == 2 * BATCH_MAX
    # What the first touched was settled while the second was on its way.
    assert await behind.redis("PTTL", behind.shard.keys.sku("main", "sku-0")) > 0
    await behind.flush()
    assert await checkpoint(behind) == EVENTS
    assert await behind.redis("PTTL", behind.shard.keys.sku("main", f"sku-{EVENTS - 2}")) > 0


@pytest.mark.parametrize("when", ["between", "during"])
async def test_upcoming_batch_of_an_epoch_that_is_over_is_not_committed(
    behind: Gateway, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """What was read before the shard lost its Redis is left out, whether that came between two turns or within one."""

    async def lose() -> None:
        await behind.redis("FLUSHALL")
        behind.shard.close()
        await behind.keep()

    if when == "between":
        await behind.turn()
        await lose()
    else:
        append = behind.ledger.append

        async def append_and_lose(batch: Batch) -> bool:
            done = await append(batch)
            await lose()
            return done

        with monkeypatch.context() as patch:
            patch.setattr(behind.ledger, "append", append_and_lose)
            await behind.turn()
    await behind.flush()
    events = await behind.ledger.read_events(0, 0, 100)
    assert [(event.epoch, event.type) for event in events] == [
        (1, "shard.opened"),
        (1, "stock.counted"),
        (2, "shard.opened"),
    ]
    assert behind.shard.epoch == 2
    assert await behind.violations() == []


async def test_upcoming_batch_of_another_flusher_is_read_anew(behind: Gateway, stores: Stores) -> None:
    """Somebody else has committed what was made ready: nothing is stored twice, and what is behind it is committed."""
    await behind.turn()
    async with running(stores, is_flushing=False, is_drained=False) as other:
        await other.flush()
    await behind.put("sku-0", 11, sequence=2)
    await behind.flush()
    events = await behind.ledger.read_events(0, 0, 100)
    assert [event.seq for event in events] == [*range(1, EVENTS + 2)]
    assert behind.shard.is_open


async def test_upcoming_batch_that_cannot_be_read_costs_nothing_of_the_one_before(
    behind: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis failing while a batch is on its way: that one is committed, who waits is told, the next turn reads anew."""
    read = Upcoming._read
    failures: list[int] = []

    async def fails_once(upcoming: Upcoming) -> bool:
        if upcoming._seq == BATCH_MAX and not failures:
            failures.append(1)
            raise HotStoreUnavailable("Redis does not answer")
        return await read(upcoming)

    monkeypatch.setattr(Upcoming, "_read", fails_once)
    with pytest.raises(HotStoreUnavailable):
        await behind.turn()
    assert await checkpoint(behind) == behind.watermark.seq == BATCH_MAX
    await behind.flush()
    assert await checkpoint(behind) == EVENTS
    assert await behind.redis("PTTL", behind.shard.keys.sku("main", "sku-0")) > 0


async def test_upcoming_entry_that_breaks_the_chain_is_met_by_the_next_turn(behind: Gateway) -> None:
    """A foreign entry behind a sound batch: the batch is committed, then the shard is closed."""
    entries = await behind.log_entries()
    log, (at, fields) = behind.shard.keys.log, entries[BATCH_MAX]
    await behind.redis("DEL", log)
    for id, own in [*entries[:BATCH_MAX], (at, [*fields[:3], "f" * 40])]:
        await behind.redis("XADD", log, id, *own)
    assert await behind.turn() == BATCH_MAX
    assert behind.shard.is_open
    with pytest.raises(ChainBroken):
        await behind.turn()
    assert not behind.shard.is_open
    assert await checkpoint(behind) == BATCH_MAX


async def test_upcoming_batch_is_read_anew_after_an_append_that_failed(
    behind: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The durable store fails while the batch before is settled: both are done again, and every key gets its life."""
    await behind.turn()
    run = behind.shard.run
    is_settling = asyncio.Event()

    async def hangs(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "settle":
            is_settling.set()
            await asyncio.Event().wait()
        return await run(name, *arguments, **named)

    async def fails(_: Batch) -> bool:
        async with asyncio.timeout(10):
            await is_settling.wait()
        raise LedgerUnavailable("it does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(behind.shard, "run", hangs)
        patch.setattr(behind.ledger, "append", fails)
        with pytest.raises(LedgerUnavailable):
            await behind.turn()
    assert await checkpoint(behind) == BATCH_MAX
    await behind.flush()
    assert await checkpoint(behind) == EVENTS
    keys = await behind.keys("*:s:*")
    assert len(keys) == EVENTS - 1
    assert [key for key in keys if await behind.redis("PTTL", key) < 0] == []
