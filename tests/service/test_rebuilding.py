"""Redis lost everything: the shard is rebuilt from the durable store, and what was never committed is told as lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.domain.command import Confirm, Extend, Fulfil, Release
from gateway.domain.errors import GatewayError, ReservationLost, ReservationNotFound, ShardHalted, ShardRecovering
from gateway.domain.identifier import mint_random_part
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


async def lose_redis(gateway: Gateway) -> None:
    """Redis is empty, the next call finds that out, and the keeper has opened the shard again."""
    await gateway.redis("FLUSHALL")
    with pytest.raises(ShardRecovering):
        await gateway.stock.read("tee", gateway.call())
    assert not gateway.shard.is_open
    assert await gateway.keep() == 1


async def test_rebuilding_brings_back_every_level_as_it_was(each_database: Stores) -> None:
    """After FLUSHALL each sku reads as before: counters, sources, versions, pause; those without holds load when asked."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("held", 10, safety_stock=1, deduction=2)
        await gateway.put("held", 7, location="outlet", source="wms", sequence=40)
        await gateway.put("sold", 5)
        await gateway.put("idle", 3, sequence=9)
        await gateway.reserve(("held", 3), ("sold", 1))
        await gateway.confirm(await gateway.reserve(("sold", 2)))
        await gateway.fulfil(await gateway.confirm(await gateway.reserve(("idle", 1))))
        await gateway.pause("idle")
        await gateway.flush()
        names = ["held", "sold", "idle"]
        before, _ = await gateway.stock.query(names, gateway.call())

        await lose_redis(gateway)

        assert await gateway.keys("*:s:*") == [f"{gateway.shard.keys.base}s:main/{sku}" for sku in ("held", "sold")]
        after, unknown = await gateway.stock.query(names, gateway.call())
        assert unknown == []
        assert [one.sku for one in after] == [one.sku for one in before]
        assert gateway.shard.epoch == 2
        await gateway.flush()
        assert await gateway.violations() == []


async def test_rebuilding_keeps_every_open_hold_and_its_deadline(each_database: Stores) -> None:
    """Open holds come back with their deadlines, in both indexes, and a sku's next deadline is the earliest of its holds."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.put("mug", 10)
        late = await gateway.reserve(("tee", 1), ttl_seconds=900)
        early = await gateway.reserve(("tee", 2), ("mug", 1), ttl_seconds=300)
        await gateway.release(await gateway.reserve(("mug", 1), ttl_seconds=200))
        await gateway.flush()

        await lose_redis(gateway)

        keys, first, last = gateway.shard.keys, early.reservation, late.reservation
        assert await gateway.redis("ZRANGE", keys.holds("main", "tee"), 0, -1, "WITHSCORES") == [
            first.id.random_part,
            str(first.deadline_ms),
            last.id.random_part,
            str(last.deadline_ms),
        ]
        assert await gateway.redis("ZRANGE", keys.due, 0, -1, "WITHSCORES") == [
            "main/mug",
            str(first.deadline_ms),
            "main/tee",
            str(first.deadline_ms),
        ]
        for sku in ("tee", "mug"):
            head = await gateway.redis("HGET", keys.sku("main", sku), "*")
            assert head.split(" ")[0] == str(first.deadline_ms)
        for held in (late, early):
            now = (await gateway.read(held)).reservation
            assert (now.state, now.deadline_ms, now.lines) == (
                "held",
                held.reservation.deadline_ms,
                held.reservation.lines,
            )

        await gateway.advance(first.deadline_ms - await gateway.clock_ms())
        assert (await gateway.read(early)).reservation.state == "expired"
        assert (await gateway.read(late)).reservation.state == "held"
        assert ((await gateway.level("tee")).held, (await gateway.level("mug")).held) == (1, 0)


async def test_rebuilding_leaves_what_ended_or_was_sold_to_be_loaded(idle: Gateway) -> None:
    """Sales and ended holds are not in Redis after a rebuild, and each call on them still answers from what is stored."""
    await idle.put("tee", 10)
    sold = await idle.confirm(await idle.reserve(("tee", 1)))
    shipped = await idle.fulfil(await idle.confirm(await idle.reserve(("tee", 2))))
    released = await idle.release(await idle.reserve(("tee", 3)))
    await idle.flush()

    await lose_redis(idle)

    assert await idle.keys("*:r:*") == []
    assert [(await idle.read(one)).reservation.state for one in (sold, shipped, released)] == [
        "confirmed",
        "fulfilled",
        "released",
    ]
    assert (await idle.fulfil(shipped)).reservation == shipped.reservation
    assert (await idle.release(released)).reservation == released.reservation
    assert (await idle.fulfil(sold)).reservation.state == "fulfilled"
    level = await idle.level("tee")
    assert (level.on_hand, level.held, level.committed) == (7, 0, 0)
    await idle.flush()
    assert await idle.violations() == []


async def test_rebuilding_leaves_idempotency_keys_working(each_database: Stores) -> None:
    """A key used before the loss answers the first result after it, for reserve and adjust; a new key is new."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        first = await gateway.reserve(("tee", 2), key="cart-1")
        ended = await gateway.release(await gateway.reserve(("tee", 1), key="cart-2"))
        await gateway.adjust("tee", -1, "fix-1")
        await gateway.flush()

        await lose_redis(gateway)

        replay = await gateway.reserve(("tee", 2), key="cart-1")
        assert (replay.replayed, replay.reservation) == (True, first.reservation)
        again = await gateway.reserve(("tee", 1), key="cart-2")
        assert (again.replayed, again.reservation) == (True, ended.reservation)
        fixed = await gateway.adjust("tee", -1, "fix-1")
        assert (fixed.replayed, fixed.level.on_hand, fixed.level.held) == (True, 9, 2)
        assert not (await gateway.reserve(("tee", 1), key="cart-3")).replayed
        assert not (await gateway.adjust("tee", -1, "fix-2")).replayed
        level = await gateway.level("tee")
        assert (level.on_hand, level.held) == (8, 3)
        await gateway.flush()
        assert await gateway.violations() == []


async def test_rebuilding_counts_a_deadline_that_passed_meanwhile(idle: Gateway) -> None:
    """A hold whose deadline passed while Redis was empty expires at its own deadline, and its units are free."""
    await idle.put("tee", 5)
    held = await idle.reserve(("tee", 5), ttl_seconds=300)
    await idle.flush()
    await idle.redis("FLUSHALL")
    idle.shard.close()
    await idle.keep()
    await idle.advance(300_000)
    assert (await idle.reserve(("tee", 5))).reservation.lines[0].quantity == 5
    ended = (await idle.read(held)).reservation
    assert (ended.state, ended.ended_ms) == ("expired", held.reservation.deadline_ms)


CHANGES: dict[str, Callable[[Gateway, str], Awaitable[object]]] = {
    "read": lambda gateway, id: gateway.reservations.read(id, gateway.call()),
    "extend": lambda gateway, id: gateway.reservations.extend(Extend(id), gateway.call("memory")),
    "confirm": lambda gateway, id: gateway.reservations.confirm(Confirm(id), gateway.call("memory")),
    "fulfil": lambda gateway, id: gateway.reservations.fulfil(Fulfil(id), gateway.call("memory")),
    "release": lambda gateway, id: gateway.reservations.release(Release(id), gateway.call("memory")),
}


async def refusals(gateway: Gateway, id: str) -> list[type[GatewayError]]:
    """What each call on this id answers, the batch last; an answer that is no refusal fails."""
    found: list[type[GatewayError]] = []
    for change in CHANGES.values():
        with pytest.raises(GatewayError) as refusal:
            await change(gateway, id)
        assert refusal.value.outcome == "not_applied"
        found.append(type(refusal.value))
    results = await gateway.reservations.batch([Release(id), Confirm(id)], gateway.call("memory"))
    return found + [type(result) for result in results if isinstance(result, GatewayError)]


async def test_rebuilding_tells_lost_holds_from_unknown_ones(each_database: Stores) -> None:
    """A hold acked from memory and lost is answered as lost by every call; an id that never was is unknown."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        kept = await gateway.reserve(("tee", 1))
        await gateway.flush()
        lost = await gateway.reserve(("tee", 2))
        other = mint_random_part()

        await lose_redis(gateway)

        everywhere = len(CHANGES) + 2
        id = lost.reservation.id
        assert await refusals(gateway, str(id)) == [ReservationLost] * everywhere
        never = kept.reservation.id._replace(random_part=other)
        assert await refusals(gateway, str(never)) == [ReservationNotFound] * everywhere
        future = id._replace(epoch=gateway.shard.epoch, random_part=other)
        assert await refusals(gateway, str(future)) == [ReservationNotFound] * everywhere
        assert (await gateway.level("tee")).held == 1


async def test_rebuilding_tells_lost_holds_also_after_the_next_rebuild(idle: Gateway) -> None:
    """What was lost in one epoch is told as lost in each one after it."""
    await idle.put("tee", 5)
    await idle.flush()
    lost = await idle.reserve(("tee", 2))
    await lose_redis(idle)
    await idle.put("tee", 6, sequence=2)
    await idle.flush()
    await lose_redis(idle)
    assert idle.shard.epoch == 3
    with pytest.raises(ReservationLost):
        await idle.read(lost)


async def test_rebuilding_from_books_that_do_not_add_up_is_refused(each_database: Stores) -> None:
    """Durable levels that contradict their holds are not opened: the shard halts, and says why."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        await gateway.reserve(("tee", 2))
        await gateway.flush()
        for held, told in ((3, "counts 3 held, its reservations 2"), (0, "have holds but count none held")):
            url = each_database.database_url
            await run_sql(url, "UPDATE shards SET state = 'open', halted_reason = NULL")
            await run_sql(url, f"UPDATE levels SET held = {held}")
            await gateway.redis("FLUSHALL")
            gateway.shard.close()
            with pytest.raises(ShardHalted, match=told):
                await gateway.reopen()
            assert not gateway.shard.is_open
            assert (await gateway.ledger.read_shard(0)).state == "halted"


async def test_reacquiring_a_hold_after_a_rebuild_takes_units_once(idle: Gateway) -> None:
    """An expired hold that Redis no longer knows is reacquired from the durable store, once."""
    await idle.put("tee", 5)
    held = await idle.reserve(("tee", 3), ttl_seconds=60)
    await idle.advance(60_000)
    await idle.sweep()
    await idle.flush()
    await lose_redis(idle)
    answers: list[ReservationAnswer] = [await idle.confirm(held, reacquire=True) for _ in range(2)]
    assert [answer.reacquired for answer in answers] == [True, False]
    assert (await idle.level("tee")).committed == 3
    await idle.flush()
    assert await idle.violations() == []
