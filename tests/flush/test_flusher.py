"""One turn of the flusher: what it takes, what it leaves, when it rests, and how it tries again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from gateway.domain.errors import HotStoreUnavailable, Overloaded, ReservationLost
from gateway.durable.ledger import Batch, LedgerUnavailable
from gateway.flush.flusher import Fenced
from gateway.flush.upcoming import ENTRIES_MAX, Upcoming
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


async def test_flusher_commits_what_is_new_and_tells_who_waits(each_store: Stores) -> None:
    """A turn stores every event of the log, raises the watermark, moves meta's checkpoint, and wakes whoever waits."""
    async with running(each_store, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        waiting = asyncio.create_task(gateway.reserve(("tee", 1), ack="durable"))
        await gateway.until_awaited()
        assert await gateway.turn() == 3
        assert (await waiting).durable
        await gateway.flush()
        row = await gateway.ledger.read_shard(0)
        assert (row.checkpoint, gateway.watermark.seq) == (3, 3)
        assert await gateway.redis("HGET", gateway.shard.keys.meta, "checkpoint") == "3"
        assert await gateway.turn() == 0


async def test_flusher_drops_the_log_up_to_the_anchor(each_store: Stores) -> None:
    """Exactly the last committed entry stays, with the committed digest, and all that is not committed."""
    async with running(each_store, is_flushing=False) as gateway:
        for sequence in range(1, 6):
            await gateway.put("tee", 10, sequence=sequence)
        append = gateway.ledger.append

        async def append_and_sell(batch: Batch) -> bool:
            done = await append(batch)
            await gateway.reserve(("tee", 1))  # it comes between the commit and the settling
            return done

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gateway.ledger, "append", append_and_sell)
            await gateway.turn()
        row = await gateway.ledger.read_shard(0)
        entries = await gateway.log_entries()
        assert [id for id, _ in entries] == ["6-0", "7-0"]
        assert (row.checkpoint, row.digest) == (6, entries[0][1][3])


async def test_flusher_commits_a_bounded_number_of_events_at_a_time(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction holds about `batch_max` events, a page of entries more at most; order and chain lead through."""
    async with running(replace(stores, batch_max=20), is_flushing=False) as gateway:
        for sequence in range(1, 400):
            await gateway.put("tee", sequence, sequence=sequence)
        sizes: list[int] = []
        append = gateway.ledger.append

        async def counted(batch: Batch) -> bool:
            sizes.append(len(batch.events))
            return await append(batch)

        monkeypatch.setattr(gateway.ledger, "append", counted)
        await gateway.flush()
        assert sum(sizes) == 400
        assert max(sizes) <= 20 + ENTRIES_MAX
        assert await gateway.violations() == []


async def test_flusher_divides_no_entry(stores: Stores) -> None:
    """A batch of one call is stored whole, also where it is larger than `batch_max`."""
    async with running(replace(stores, batch_max=2), is_flushing=False) as gateway:
        await gateway.put("tee", 100)
        for _ in range(5):
            await gateway.reserve(("tee", 1), ttl_seconds=60)
        await gateway.flush()
        await gateway.advance(60_000)
        assert (await gateway.level("tee")).held == 0  # five holds expired in one call
        await gateway.flush()
        events = await gateway.ledger.read_events(0, 7, 100)
        assert [(event.type, event.entry_seq) for event in events] == [("stock.expired", 12)] * 5


async def test_flusher_settles_again_what_it_could_not_settle(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis failing after the commit costs nothing but time: the next turn settles, and nothing is stored twice."""
    await idle.flush()  # what was there at the start is looked through
    await idle.put("tee", 10)
    run = idle.shard.run
    failures: list[str] = []

    async def fails_once(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "settle" and not failures:
            failures.append(name)
            raise HotStoreUnavailable("Redis does not answer")
        return await run(name, *arguments, **named)

    monkeypatch.setattr(idle.shard, "run", fails_once)
    with pytest.raises(HotStoreUnavailable):
        await idle.turn()
    assert idle.watermark.seq == 2  # who waits for the commit has it
    key = idle.shard.keys.sku("main", "tee")
    assert await idle.redis("PTTL", key) == -1
    assert await idle.turn() > 0
    assert await idle.redis("PTTL", key) > 0
    assert await idle.redis("XLEN", idle.shard.keys.log) == 1
    assert len(await idle.ledger.read_events(0, 0, 10)) == 2


async def test_flusher_settles_many_names_a_few_at_a_time(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call of `settle` looks at more than its bound of names, and every key gets its life."""
    monkeypatch.setattr("gateway.flush.flusher.SETTLE_NAMES_MAX", 10)
    for number in range(35):
        await idle.put(f"sku-{number}", 1)
    run = idle.shard.run
    sizes: list[int] = []

    async def counted(name: str, keys: tuple[str, ...], arguments: tuple[str, ...], **named: Any) -> Any:
        sizes.append(len(arguments) - 4)
        return await run(name, keys, arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(idle.shard, "run", counted)
        await idle.flush()
    assert sum(sizes) >= 35
    assert max(sizes) <= 10
    assert [key for key in await idle.keys("*:s:*") if await idle.redis("PTTL", key) < 0] == []


async def test_flusher_waits_for_a_durable_store_that_is_away(idle: Gateway) -> None:
    """While the durable store is away nothing is dropped, and the shard sells on; when it is back everything is stored."""
    await idle.put("tee", 10)
    with pytest.MonkeyPatch.context() as patch:

        async def away(*_: object) -> bool:
            raise LedgerUnavailable("it does not answer")

        patch.setattr(idle.ledger, "append", away)
        for _ in range(3):
            with pytest.raises(LedgerUnavailable):
                await idle.turn()
            await idle.reserve(("tee", 1))
    assert idle.shard.is_open
    assert await idle.redis("XLEN", idle.shard.keys.log) == 5
    await idle.flush()
    assert (await idle.ledger.read_shard(0)).checkpoint == 5
    assert await idle.violations() == []


async def test_flusher_bounds_what_is_not_stored(stores: Stores) -> None:
    """With `backlog_max` events unflushed nothing new is taken, sales still are; after a flush everything goes on."""
    async with running(replace(stores, backlog_max=4), is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        held = [await gateway.reserve(("tee", 1)) for _ in range(2)]
        for refused in (gateway.reserve(("tee", 1)), gateway.put("tee", 5, sequence=2), gateway.adjust("tee", 1, "k")):
            with pytest.raises(Overloaded) as refusal:
                await refused
            assert refusal.value.outcome == "not_applied"
        await gateway.confirm(held[0])
        await gateway.release(held[1])
        await gateway.flush()
        await gateway.reserve(("tee", 1))
        level = await gateway.level("tee")
        assert (level.held, level.committed) == (1, 1)


@pytest.mark.parametrize("state", ["raised", "halted"])
async def test_flusher_of_an_epoch_that_is_over_is_fenced(each_database: Stores, state: str) -> None:
    """When the row is another's, nothing is stored, the shard closes, and nothing of the log is dropped."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.flush()
        await gateway.reserve(("tee", 1))
        if state == "raised":
            assert await gateway.ledger.raise_epoch(0, 1, "another", 0) is not None
        else:
            await run_sql(each_database.database_url, "UPDATE shards SET state = 'halted'")
        log = await gateway.log_entries()
        with pytest.raises(Fenced):
            await gateway.turn()
        assert not gateway.shard.is_open
        assert await gateway.turn() == 0
        assert (await gateway.ledger.read_shard(0)).checkpoint == 2
        assert len(await gateway.ledger.read_events(0, 0, 10)) == 2
        assert await gateway.log_entries() == log


async def test_flusher_commits_nothing_of_an_epoch_that_ended_while_it_read(
    each_database: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the shard lost its Redis is not committed under the epoch that was opened without it."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.flush()
        lost = await gateway.reserve(("tee", 1))
        read = Upcoming._read

        async def read_and_lose(upcoming: Upcoming) -> bool:
            has_read = await read(upcoming)
            await gateway.redis("FLUSHALL")
            gateway.shard.close()
            await gateway.keep()
            return has_read

        with monkeypatch.context() as patch:
            patch.setattr(Upcoming, "_read", read_and_lose)
            assert await gateway.turn() > 0
        await gateway.flush()
        types = [event.type for event in await gateway.ledger.read_events(0, 0, 10)]
        assert types == ["shard.opened", "stock.counted", "shard.opened"]
        with pytest.raises(ReservationLost):
            await gateway.read(lost)
        assert (await gateway.level("tee")).held == 0
        assert await gateway.violations() == []


async def test_flusher_rests_while_nobody_waits(idle: Gateway) -> None:
    """After a turn it leaves the time to requests; one that waits for a commit ends the rest at once."""
    await idle.put("tee", 10)
    await idle.flush()
    idle.flusher._rest_until = float("inf")  # a long turn was just now
    await idle.reserve(("tee", 1))
    assert await idle.flusher.step() == 0
    waiting = asyncio.create_task(idle.reserve(("tee", 1), ack="durable"))
    await idle.until_awaited()
    assert await idle.flusher.step() == 2
    assert (await waiting).durable


async def test_flusher_that_is_late_does_not_rest(idle: Gateway) -> None:
    """After a turn that found an event older than `lag_ms_max` the next turn follows without a rest."""
    await idle.put("tee", 10)
    await idle.flush()
    await idle.reserve(("tee", 1))
    await idle.advance(60_000)
    assert await idle.turn() == 1
    await idle.reserve(("tee", 1))
    assert await idle.flusher.step() == 1


async def test_flusher_rests_no_longer_than_an_event_may_wait(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a turn took, the rest after it ends before what comes meanwhile is older than `lag_ms_max`."""
    lag_s_max = idle._settings.flush.lag_ms_max / 1000
    await idle.flush()
    append = idle.ledger.append

    async def slow(batch: Batch) -> bool:
        await asyncio.sleep(0.2 * lag_s_max)
        return await append(batch)

    monkeypatch.setattr(idle.ledger, "append", slow)
    await idle.put("tee", 10)
    await idle.turn()
    assert idle.flusher._rest_until - time.perf_counter() <= lag_s_max


async def test_flusher_drains_everything_and_no_longer_than_it_may(
    idle: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the process all of the log is stored without a rest, or the time is over and it stays in the log."""
    await idle.put("tee", 10)
    idle.flusher._rest_until = float("inf")
    await idle.flusher.drain(60)
    assert (await idle.ledger.read_shard(0)).checkpoint == 2

    async def hangs(*_: object) -> bool:
        await asyncio.Event().wait()
        return False

    await idle.reserve(("tee", 1))
    with monkeypatch.context() as patch:
        patch.setattr(idle.ledger, "append", hangs)
        with pytest.raises(TimeoutError):
            await idle.flusher.drain(0.05)
    await idle.flusher.drain(60)
    assert (await idle.ledger.read_shard(0)).checkpoint == 3
