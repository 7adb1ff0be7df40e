"""Parts of a shard are damaged while it works: it closes, and is opened again with all that still can be had."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.domain.errors import GatewayError, ReservationLost, ShardRecovering
from gateway.durable.ledger import LedgerUnavailable
from gateway.hot.log import ChainBroken
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


async def with_tail(gateway: Gateway) -> tuple[ReservationAnswer, ReservationAnswer]:
    """A shard with one committed hold, and one that is only in the log."""
    await gateway.put("tee", 10)
    committed = await gateway.reserve(("tee", 1), key="committed")
    await gateway.flush()
    return committed, await gateway.reserve(("tee", 2), key="tail")


async def states(gateway: Gateway, *held: ReservationAnswer) -> list[str]:
    """What each reads as."""
    return [(await gateway.read(one)).reservation.state for one in held]


async def find_closed(gateway: Gateway) -> None:
    """The next call is refused, having changed nothing, and closes the shard."""
    with pytest.raises(ShardRecovering) as refusal:
        await gateway.put("tee", 99, sequence=99)
    assert refusal.value.outcome in ("not_applied", "unknown")
    assert not gateway.shard.is_open


async def test_recovering_from_a_lost_meta_keeps_the_tail(each_store: Stores) -> None:
    """Without meta the log still tells what was not committed yet: it is committed first, and nothing is lost."""
    async with running(each_store, is_flushing=False) as gateway:
        committed, tail = await with_tail(gateway)
        await gateway.redis("DEL", gateway.shard.keys.meta)
        await find_closed(gateway)
        assert await gateway.keep() == 1
        assert gateway.shard.epoch == 2
        assert await states(gateway, committed, tail) == ["held", "held"]
        assert (await gateway.reserve(("tee", 2), key="tail")).reservation.id == tail.reservation.id
        level = await gateway.level("tee")
        assert (level.on_hand, level.held) == (10, 3)
        await gateway.flush()
        assert await gateway.violations() == []


async def test_recovering_from_a_lost_log_keeps_what_is_committed(each_store: Stores) -> None:
    """Without the log its tail is gone: the shard goes on from what is committed, and the rest is told as lost."""
    async with running(each_store, is_flushing=False) as gateway:
        committed, tail = await with_tail(gateway)
        await gateway.redis("DEL", gateway.shard.keys.log)
        await find_closed(gateway)
        assert await gateway.keep() == 1
        assert await states(gateway, committed) == ["held"]
        with pytest.raises(ReservationLost):
            await gateway.read(tail)
        level = await gateway.level("tee")
        assert (level.on_hand, level.held) == (10, 1)
        await gateway.flush()
        assert await gateway.violations() == []


async def test_recovering_from_a_lost_log_without_a_tail_loses_nothing(each_store: Stores) -> None:
    """All was committed when the log was deleted: meta and row agree, and still nobody could write behind it."""
    async with running(each_store, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        held = await gateway.reserve(("tee", 1))
        await gateway.flush()
        await gateway.redis("DEL", gateway.shard.keys.log)
        await find_closed(gateway)
        assert await gateway.keep() == 1
        assert gateway.shard.epoch == 2
        assert await states(gateway, held) == ["held"]
        await gateway.reserve(("tee", 2))
        await gateway.flush()
        assert await gateway.violations() == []


async def test_recovering_from_a_lost_log_is_not_put_off_by_quiet_traffic(idle: Gateway) -> None:
    """A log that vanished with commits awaited is noticed by the flusher, not only by the next writer."""
    _, tail = await with_tail(idle)
    await idle.redis("DEL", idle.shard.keys.log)
    waiting = asyncio.create_task(idle.reserve(("tee", 2), key="tail", ack="durable"))
    await asyncio.sleep(0)
    with contextlib.suppress(ChainBroken):
        for _ in range(20):
            await idle.turn()
            await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not idle.shard.is_open
    await idle.keep()
    with pytest.raises(ReservationLost):
        await idle.read(tail)


async def test_recovering_from_poison_keeps_the_tail(each_store: Stores) -> None:
    """A script that broke off while writing leaves poison: what the log has is committed, and Redis is built anew from it."""
    async with running(each_store, is_flushing=False) as gateway:
        committed, tail = await with_tail(gateway)
        await gateway.redis("HSET", gateway.shard.keys.meta, "poison", "a test")
        await find_closed(gateway)
        assert await gateway.keep() == 1
        assert await gateway.redis("HGET", gateway.shard.keys.meta, "poison") is None
        assert await states(gateway, committed, tail) == ["held", "held"]
        assert (await gateway.level("tee")).held == 3
        await gateway.flush()
        assert await gateway.violations() == []


async def test_recovering_from_a_call_that_wrote_its_entry_only_applies_it(idle: Gateway) -> None:
    """The entry is the change: what a broken script logged and did not write to the levels is there after the recovery."""
    committed, _ = await with_tail(idle)
    keys = idle.shard.keys
    before = await idle.redis("HGETALL", keys.sku("main", "tee"))
    await idle.confirm(committed)
    await idle.redis("HSET", keys.sku("main", "tee"), *before)  # as if the level had not been written
    await idle.redis("HSET", keys.meta, "poison", "a test")
    await find_closed(idle)
    await idle.keep()
    level = await idle.level("tee")
    assert (level.held, level.committed) == (2, 1)
    assert await states(idle, committed) == ["confirmed"]


@pytest.mark.parametrize("damage", ["poison", "meta"])
async def test_recovering_drops_the_keys_of_the_old_generation(idle: Gateway, damage: str) -> None:
    """After a rebuild no key of the generation before is left: Redis would keep what nobody reads for ever."""
    await with_tail(idle)
    meta, old = idle.shard.keys.meta, idle.shard.keys.base
    if damage == "poison":
        await idle.redis("HSET", meta, "poison", "a test")
    else:
        await idle.redis("DEL", meta)
    await find_closed(idle)
    await idle.keep()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*[task for task in others if "forget_before" in repr(task)])
    assert idle.shard.keys.base != old
    assert await idle.keys(f"{old}*") == []
    assert (await idle.level("tee")).held == 3


async def test_recovering_follows_the_row_when_an_older_epoch_is_in_meta(idle: Gateway) -> None:
    """A gateway whose epoch is over is refused by Redis and by the durable store; it opens under a new one and loses nothing."""
    committed, tail = await with_tail(idle)
    raised = await idle.ledger.raise_epoch(0, 1, "somebody", 0)
    assert raised is not None
    idle.shard.close()
    await idle.keep()
    assert idle.shard.epoch == 3
    assert await states(idle, committed, tail) == ["held", "held"]
    await idle.flush()
    assert await idle.violations() == []


async def test_recovering_survives_a_durable_store_that_fails_on_the_way(stores: Stores) -> None:
    """Whichever call of the durable store fails during an opening: the keeper's next turn opens, flushes and answers durably."""
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.flush()
        for sequence, name in enumerate(("read_shard", "raise_epoch", "open_shard", "epoch_ends"), start=2):
            await gateway.redis("HSET", gateway.shard.keys.meta, "poison", "a test")
            gateway.shard.close()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(gateway.ledger, name, unavailable)
                with pytest.raises((LedgerUnavailable, GatewayError)):
                    await gateway.keep()
            await gateway.keep()
            answer = asyncio.create_task(gateway.put("tee", 10, sequence=sequence, ack="durable"))
            while not answer.done():
                await gateway.turn()
                await asyncio.sleep(0)
                if gateway.watermark.is_awaited():
                    assert gateway.flusher._epoch == gateway.shard.epoch, f"after {name} failed nothing is flushed"
            assert (await answer).durable


async def unavailable(*_: object, **__: object) -> None:
    """A durable store that went away."""
    raise LedgerUnavailable("it does not answer")


async def test_recovering_refuses_nothing_while_the_new_epoch_becomes_known(
    idle: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change made in the very moment of the opening is waited for like any other."""
    await with_tail(idle)
    await idle.redis("HSET", idle.shard.keys.meta, "poison", "a test")
    idle.shard.close()
    read_ends = idle.ledger.epoch_ends
    answers: list[asyncio.Task[ReservationAnswer]] = []

    async def slow_ends(shard: int) -> dict[int, int]:
        if idle.shard.is_open:
            answers.append(asyncio.create_task(idle.reserve(("tee", 1), ack="durable")))
            await idle.redis("PING")
            await idle.redis("PING")
            await asyncio.sleep(0.02)
        return await read_ends(shard)

    monkeypatch.setattr(idle.ledger, "epoch_ends", slow_ends)
    await idle.keep()
    if not answers:  # nothing was answered before the watermark knew the epoch
        answers.append(asyncio.create_task(idle.reserve(("tee", 1), ack="durable")))
    while not answers[0].done():
        await idle.turn()
        await asyncio.sleep(0)
    assert (await answers[0]).durable


async def test_recovering_from_a_foreign_entry_at_the_end_keeps_all_before_it(each_database: Stores) -> None:
    """XADD by a foreign hand is noticed and left out; what stood before it is not lost, and the log goes on."""
    async with running(each_database, is_flushing=False) as gateway:
        committed, tail = await with_tail(gateway)
        entry = "E\t4\t1\tstock.counted\t1\tmain\tx\t\t\t"
        await gateway.redis("XADD", gateway.shard.keys.log, "9-0", "e", entry, "d", "0" * 40)
        with pytest.raises(ChainBroken):
            await gateway.turn()
        assert not gateway.shard.is_open

        assert await gateway.keep() == 1

        assert await states(gateway, committed, tail) == ["held", "held"]
        await gateway.put("tee", 20, sequence=2)
        level = await gateway.level("tee")
        assert (level.on_hand, level.held) == (20, 3)
        await gateway.flush()
        assert await gateway.violations() == []
