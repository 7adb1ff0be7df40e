"""Drift between Redis and the durable store is found by the flusher within a thousand events, and only where there is some."""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from gateway.domain.command import Adjust, BatchCommand
from gateway.domain.errors import ShardHalted, ShardRecovering
from gateway.domain.event import CHECKPOINT, GENESIS, EntryInvalid, parse_events
from gateway.domain.totals import Totals, parse_totals
from gateway.durable.ledger import Batch, TotalsDiffer
from gateway.flush.batches import build_batch, parts
from gateway.hot.log import Entry, read_entries
from tests.contract.sql import run_sql
from tests.flush.traffic import SKUS, Traffic
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

EVENTS = 5000  # on each kind of durable store

#: The counters in the order of a level's text.
COUNTERS = ("on_hand", "held", "committed", "deducted")


async def fill(gateway: Gateway, seq: int) -> None:
    """The history is this long, by changes that come to nothing."""
    await gateway.put("filler", 5, sequence=seq)
    missing = seq - int(await gateway.redis("HGET", gateway.shard.keys.meta, "seq"))
    for number in range(0, missing, 500):
        commands: list[BatchCommand] = [
            Adjust("filler", "main", 1 - 2 * (one % 2), "filled", None, f"{seq}-{one}", "f")
            for one in range(number, min(number + 500, missing))
        ]
        await gateway.reservations.batch(commands, gateway.call("memory"))


async def turn_into_damage(gateway: Gateway, sku: str, counter: str) -> None:
    """The counter of a level in Redis is one more, by hand."""
    key = gateway.shard.keys.sku("main", sku)
    numbers = (await gateway.redis("HGET", key, "Lmain")).split(" ")
    place = COUNTERS.index(counter)
    numbers[place] = str(int(numbers[place]) + 1)
    await gateway.redis("HSET", key, "Lmain", " ".join(numbers))


def checkpoint(batch: Batch) -> bool:
    """Whether the batch ends with one."""
    return batch.events[-1].type == CHECKPOINT


# Batches


async def test_totals_cut_the_log_into_batches(each_database: Stores) -> None:
    """One turn commits all it read, in batches that end at each checkpoint event; the digests go on from one to the other."""
    sent: list[Batch] = []
    async with running(each_database, is_flushing=False) as gateway:
        await fill(gateway, 1500)
        append = gateway.ledger.append

        async def noting(batch: Batch, *, owner: str | None = None) -> bool:
            sent.append(batch)
            return await append(batch, owner=owner)

        gateway.ledger.append = noting  # type: ignore[method-assign]
        await gateway.flush()

        assert [checkpoint(batch) for batch in sent] == [True, False]
        assert sent[1].previous_digest == sent[0].digest
        row = await gateway.ledger.read_shard(0)
        assert row.checkpoint == int(await gateway.redis("HGET", gateway.shard.keys.meta, "seq"))
        assert row.totals.pack() == await gateway.redis("HGET", gateway.shard.keys.meta, "totals")
        (event,) = [one for one in await gateway.ledger.read_events(0, 990, 1000) if one.type == CHECKPOINT]
        assert (event.seq, event.shop, event.reservation) == (sent[0].last_seq, "", None)
        assert await gateway.violations() == []


def entry_of(payload: str) -> Entry:
    """An entry that a script might have written."""
    events = parse_events(payload)
    return Entry(events[-1].seq, payload, "", events)


def test_parts_end_where_totals_are_told() -> None:
    """Every entry is in one part, in order; a checkpoint event is the last one of its part."""
    told = [
        entry_of(f"E\t{seq}\t1\t{type}\t5\t\tgateway\t\t\t" + ("\nT\t1\t2\t3\t4" if type == CHECKPOINT else ""))
        for seq, type in enumerate(["shard.opened", CHECKPOINT, CHECKPOINT, "shard.opened", "shard.opened"], 1)
    ]

    assert [[entry.seq for entry in part] for part in parts(told)] == [[1, 2], [3], [4, 5]]
    assert parts([]) == []


@pytest.mark.parametrize("row", ["T\t1\t2\t3", "T\t1\t2\t3\t4\t5", "T\t1\t2\t3\tfour", "T"])
async def test_totals_that_cannot_be_read_are_not_skipped(row: str) -> None:
    """A checkpoint event that tells no totals is none of this version's."""
    entry = entry_of(f"E\t1\t1\t{CHECKPOINT}\t5\t\tgateway\t\t\t\n{row}")

    with pytest.raises(EntryInvalid, match="event 1"):
        await build_batch(0, 1, GENESIS, [entry])


# Damage


@pytest.mark.parametrize("counter", COUNTERS)
async def test_totals_find_a_counter_that_was_changed_in_redis(each_database: Stores, counter: str) -> None:
    """Under traffic the flusher finds it with the next checkpoint event and names it; nothing is sold any more."""
    seed = secrets.randbits(32)
    print("seed", seed)
    async with running(each_database, is_flushing=False, is_drained=False) as gateway:
        for sku in SKUS:
            await gateway.put(sku, 30, source="start")
        await gateway.put("tee", 20, source="count")
        traffic = Traffic(gateway, seed)
        for _ in range(30):
            await traffic.step()
        await gateway.flush()
        await turn_into_damage(gateway, "tee", counter)
        planted = int(await gateway.redis("HGET", gateway.shard.keys.meta, "seq"))

        await gateway.put("tee", safety_stock=3, source="hand")
        for _ in range(20):
            await traffic.step()
        await gateway.flush()
        await fill(gateway, 1000)
        with pytest.raises(TotalsDiffer) as found:
            await gateway.flush()

        row = await gateway.ledger.read_shard(0)
        told = await checkpoint_in_redis(gateway)
        here = told._replace(**{counter: getattr(told, counter) + 1})
        assert planted <= row.checkpoint < 1000 <= planted + 1000
        assert (row.state, row.halted_reason) == ("halted", str(found.value))
        values = f"{counter} is {getattr(told, counter)} in Redis and {getattr(here, counter)} here"
        assert row.halted_reason is not None
        assert row.halted_reason.endswith(f"of epoch 1: {values}")
        with pytest.raises(ShardRecovering):
            await gateway.reserve(("tee", 1))
        assert await gateway.keep() == 0
        with pytest.raises(ShardHalted, match=f"{counter} is"):
            await gateway.reserve(("tee", 1))


async def checkpoint_in_redis(gateway: Gateway) -> Totals:
    """What the first checkpoint event that is not committed tells."""
    row = await gateway.ledger.read_shard(0)
    for entry in await read_entries(gateway.shard, row.checkpoint, row.digest, 1000):
        for event in entry.events:
            if event.type == CHECKPOINT:
                return parse_totals(" ".join(event.facts[0][1:]))
    raise AssertionError("nothing was told")


async def test_totals_find_a_counter_that_was_changed_in_the_durable_store(each_database: Stores) -> None:
    """The other side is watched by the same comparison, once Redis tells of that level again."""
    async with running(each_database, is_flushing=False, is_drained=False) as gateway:
        await gateway.put("tee", 30)
        await gateway.flush()
        await run_sql(each_database.database_url, "UPDATE levels SET on_hand = on_hand + 2")
        await gateway.reserve(("tee", 1))

        await fill(gateway, 1000)
        with pytest.raises(TotalsDiffer, match="on_hand is 35 in Redis and 33 here"):
            await gateway.flush()


@pytest.mark.parametrize("counter", COUNTERS)
async def test_totals_find_a_total_that_was_changed_itself(stores: Stores, counter: str) -> None:
    """What watches is watched: a total that somebody wrote into meta differs at the next checkpoint event."""
    async with running(stores, is_flushing=False, is_drained=False) as gateway:
        await fill(gateway, 990)
        await gateway.flush()
        totals = parse_totals(await gateway.redis("HGET", gateway.shard.keys.meta, "totals"))
        wrong = totals._replace(**{counter: getattr(totals, counter) - 1})
        await gateway.redis("HSET", gateway.shard.keys.meta, "totals", wrong.pack())

        await fill(gateway, 1000)
        with pytest.raises(TotalsDiffer, match=f"{counter} is"):
            await gateway.flush()


# No damage


async def evict(gateway: Gateway) -> None:
    """Whatever has a life in Redis has reached its end."""
    base = gateway.shard.keys.base
    for key in [*await gateway.keys(f"{base}s:*"), *await gateway.keys(f"{base}r:*")]:
        if await gateway.redis("PTTL", key) != -1:
            await gateway.redis("DEL", key)


async def flush_and_evict(gateway: Gateway) -> None:
    """All is committed, and what may go is gone: it loads again when it is wanted."""
    await gateway.flush()
    await evict(gateway)


async def adopt(gateway: Gateway) -> None:
    """Redis was restarted with its data: a new epoch goes on in the same log, tail and all."""
    await gateway.redis("HSET", gateway.shard.keys.meta, "lineage", "of a server before")
    gateway.shard.close()
    await gateway.keep()


async def rebuild(gateway: Gateway) -> None:
    """Redis has lost everything, also what was not committed."""
    await gateway.redis("FLUSHALL")
    gateway.shard.close()
    await gateway.keep()


async def rebuild_with_tail(gateway: Gateway) -> None:
    """A call broke off: the tail of the log is committed, and the rest built anew."""
    await gateway.redis("HSET", gateway.shard.keys.meta, "poison", "broken")
    gateway.shard.close()
    await gateway.keep()


async def restart(gateway: Gateway) -> None:
    """A process that begins: it joins in."""
    gateway.shard.close()
    await gateway.keep()


@pytest.mark.timeout(600)
async def test_totals_never_differ_without_damage(each_database: Stores) -> None:
    """Thousands of events of every kind, with loads, evictions, restarts, adoptions and rebuilds: no comparison ever fails."""
    seed = secrets.randbits(32)
    print("seed", seed)
    rng = random.Random(seed)
    turns: list[Callable[[Gateway], Awaitable[None]]] = [
        Gateway.flush, flush_and_evict, flush_and_evict, adopt, rebuild, rebuild_with_tail, restart,
    ]  # fmt: skip
    seen: set[str] = set()
    stores = replace(each_database, rebuilds_max=1000)
    async with running(stores, is_flushing=False) as gateway:
        traffic, seq = Traffic(gateway, seed), 0
        for sku in SKUS:
            await gateway.put(sku, 30, source="start")
        while seq < EVENTS:
            for _ in range(rng.randint(1, 60)):
                await traffic.step()
            if rng.random() < 0.1:
                await fill(gateway, int(await gateway.redis("HGET", gateway.shard.keys.meta, "seq")) + 300)
            turn = rng.choice(turns)
            seen.add(turn.__name__)
            await turn(gateway)
            traffic.held = [held for held in traffic.held if held.reservation.epoch == gateway.shard.epoch][-50:]
            seq = int(await gateway.redis("HGET", gateway.shard.keys.meta, "seq"))
        await gateway.flush()

        row = await gateway.ledger.read_shard(0)
        told = [event for event in await gateway.ledger.read_events(0, 0, 3 * EVENTS) if event.type == CHECKPOINT]
        assert seen == {turn.__name__ for turn in turns}
        assert len(told) >= EVENTS // 1000 - 2  # an opening may have taken the thousandth seq
        assert row.state == "open"
        assert row.totals.pack() == await gateway.redis("HGET", gateway.shard.keys.meta, "totals")
        assert await gateway.violations() == []
