"""What is settled leaves Redis by its own: nothing but meta and the anchor stays, and everything still answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.domain.errors import ReservationExpired, StaleSequence
from gateway.durable.ledger import Batch
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


async def left(gateway: Gateway) -> list[str]:
    """The names of this shard's keys, without what they begin with."""
    return [key.rpartition("}:")[2] for key in await gateway.keys("{rg0}:*")]


async def end_lives(gateway: Gateway, life_ms_max: int) -> None:
    """The time of every key that has one is over; none had more than this left."""
    for key in await gateway.keys():
        left_ms = await gateway.redis("PTTL", key)
        assert left_ms <= life_ms_max, key
        if left_ms >= 0:
            await gateway.redis("DEL", key)


async def bytes_used(gateway: Gateway) -> int:
    """What the keys take, by the server's own account of each."""
    sizes = [int(await gateway.redis("MEMORY", "USAGE", key, "SAMPLES", 0)) for key in await gateway.keys()]
    return sum(sizes)


async def trade(gateway: Gateway) -> dict[str, ReservationAnswer]:
    """One reservation per way to end, with keys, on skus with sources and a pause."""
    for number in range(20):
        await gateway.put(f"sku-{number}", 100, sequence=5)
    await gateway.put("sku-0", 7, location="outlet", source="wms", sequence=3)
    ends = {
        "released": await gateway.release(await gateway.reserve(("sku-0", 2), ("sku-1", 1), key="k-released")),
        "fulfilled": await gateway.fulfil(
            await gateway.confirm(await gateway.reserve(("sku-1", 3), key="k-fulfilled"))
        ),
        "expired": await gateway.reserve(("sku-2", 4), key="k-expired", ttl_seconds=1),
    }
    await gateway.advance(1000)
    await gateway.sweep()
    await gateway.adjust("sku-3", -5, "k-adjust")
    await gateway.pause("sku-4")
    return ends


async def test_lives_end_and_redis_is_as_empty_as_before(stores: Stores) -> None:
    """After settling and the lives of the keys, Redis has its empty key set and size again; every question has its answer."""
    short = replace(stores, retention_seconds=100, idle_ttl_seconds=100, ended_ttl_seconds=100)
    async with running(short, is_flushing=False) as gateway:
        await gateway.flush()
        empty, empty_bytes = await left(gateway), await bytes_used(gateway)
        assert empty == ["1:log", "meta"]
        ends = await trade(gateway)
        full_bytes = await bytes_used(gateway)
        await gateway.flush()
        without_life = [
            key
            for key in await gateway.keys()
            if key.rpartition("}:")[2] not in empty and await gateway.redis("PTTL", key) < 0
        ]
        assert without_life == []
        replay = await gateway.reserve(("sku-1", 3), key="k-fulfilled")
        assert (replay.replayed, replay.reservation.state) == (True, "fulfilled")
        assert (await gateway.adjust("sku-3", -5, "k-adjust")).replayed

        await end_lives(gateway, 105_000)  # a record lives a twentieth longer

        assert await left(gateway) == empty
        assert await gateway.redis("XLEN", gateway.shard.keys.log) == 1
        # The anchor may be another entry than the opening one, and meta's numbers have grown: a few hundred bytes.
        assert await bytes_used(gateway) < empty_bytes + 1000 < full_bytes
        assert {state: (await gateway.read(one)).reservation.state for state, one in ends.items()} == {
            state: state for state in ends
        }
        levels = [await gateway.level(f"sku-{number}") for number in range(4)]
        assert [(level.on_hand, level.available) for level in levels] == [(100, 100), (97, 97), (100, 100), (95, 95)]
        assert (await gateway.stock.read("sku-4", gateway.call())).sku.paused
        with pytest.raises(StaleSequence):
            await gateway.put("sku-0", 1, sequence=4)
        assert (await gateway.release(ends["released"])).reservation == ends["released"].reservation
        with pytest.raises(ReservationExpired):
            await gateway.confirm(ends["expired"])
        assert await gateway.violations() == []


async def test_lives_are_given_to_what_a_dead_process_left(stores: Stores) -> None:
    """A gateway that died between commit and settling leaves keys without a life; the next one looks through all and gives it."""
    async with running(stores, is_flushing=False) as first:
        ends = await trade(first)
        sold = await first.confirm(await first.reserve(("sku-5", 1), key="k-sold"))
        held = await first.reserve(("sku-6", 1), key="k-held")
        run = first.shard.run

        async def dies(name: str, *arguments: object, **named: object) -> object:
            if name == "settle":
                raise ConnectionResetError("the process is gone")
            return await run(name, *arguments, **named)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(first.shard, "run", dies)
            with pytest.raises(ConnectionResetError):
                await first.turn()
        assert {await first.redis("PTTL", key) for key in await first.keys("*:[srq]:*")} == {-1}
        await first.kill()
    async with running(stores, is_flushing=False) as second:
        await second.flush()
        alive = [key for key in await second.keys("*:[srq]:*") if await second.redis("PTTL", key) == -1]
        keys = second.shard.keys
        records = {record for record in alive if ":q:" in record}
        assert set(alive) - records == {keys.sku("main", "sku-6"), keys.reservation(held.reservation.id.random_part)}
        assert len(records) == 2  # of the sale and of the hold, which are not over
        assert await second.redis("PTTL", keys.reservation(sold.reservation.id.random_part)) > 0
        assert await second.redis("XLEN", keys.log) == 1
        assert (await second.read(ends["expired"])).durable


async def test_lives_are_taken_back_by_every_change(idle: Gateway) -> None:
    """A settled key that is changed has no life until it is committed and settled again."""
    await idle.put("tee", 10)
    sold = await idle.confirm(await idle.reserve(("tee", 1), key="k"))
    await idle.flush()
    keys = idle.shard.keys
    names = [keys.sku("main", "tee"), keys.reservation(sold.reservation.id.random_part)]
    assert all([await idle.redis("PTTL", name) > 0 for name in names])
    await idle.release(sold)
    assert [await idle.redis("PTTL", name) for name in names] == [-1, -1]
    await idle.flush()
    assert all([await idle.redis("PTTL", name) > 0 for name in names])


async def test_lives_are_not_given_to_what_changed_since_the_commit(idle: Gateway) -> None:
    """What changes between a commit and its settling has no life: it would be gone before it is stored."""
    await idle.flush()
    for sku in ("put", "paused", "sold"):
        await idle.put(sku, 10)
    sold = await idle.confirm(await idle.reserve(("sold", 1)))
    append = idle.ledger.append

    async def append_and_change(batch: Batch) -> bool:
        done = await append(batch)
        await idle.put("put", 11, sequence=2)
        await idle.pause("paused")
        await idle.release(sold)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idle.ledger, "append", append_and_change)
        await idle.turn()
    keys = idle.shard.keys
    names = [keys.sku("main", sku) for sku in ("put", "paused", "sold")]
    names.append(keys.reservation(sold.reservation.id.random_part))
    assert [await idle.redis("PTTL", name) for name in names] == [-1] * 4
    await idle.flush()
    assert all([await idle.redis("PTTL", name) > 0 for name in names])


async def test_lives_of_keys_end_with_the_reservation_only(idle: Gateway) -> None:
    """A key's record has no life while its reservation is open or sold, and the retention and a twentieth from the end of it."""
    await idle.put("tee", 10)
    held = await idle.reserve(("tee", 1), key="k")
    (record,) = await idle.keys("*:q:*")
    await idle.flush()
    assert await idle.redis("PTTL", record) == -1
    await idle.confirm(held)
    await idle.flush()
    assert await idle.redis("PTTL", record) == -1
    await idle.fulfil(held)
    await idle.flush()
    assert 90_710_000 < await idle.redis("PTTL", record) <= 90_720_000


async def test_lives_of_keys_stop_when_the_hold_is_reacquired(idle: Gateway) -> None:
    """A hold that expired, and is a sale after all, keeps its key as long as the sale is open: no retry may hold twice."""
    await idle.put("tee", 10)
    held = await idle.reserve(("tee", 1), key="k", ttl_seconds=60)
    (record,) = await idle.keys("*:q:*")
    await idle.advance(60_000)
    await idle.sweep()
    await idle.flush()
    assert await idle.redis("PTTL", record) > 0
    assert (await idle.confirm(held, reacquire=True)).reacquired
    await idle.flush()
    assert await idle.redis("PTTL", record) == -1
