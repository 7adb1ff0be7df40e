"""Several gateways want to open one shard: the row in the durable store decides, and a dead one is overtaken."""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain.errors import ReservationLost, ShardRecovering
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, Stores, running


async def opened(gateway: Gateway) -> None:
    """The keeper's turns until the shard is open."""
    async with asyncio.timeout(10):
        while not gateway.shard.is_open:
            try:
                await gateway.keep()
            except ShardRecovering:
                await asyncio.sleep(0.01)


async def test_openers_at_once_agree_on_one_epoch(each_database: Stores) -> None:
    """Three gateways find the shard poisoned and open it at once: one epoch comes of it, and all go on under it."""
    async with (
        running(each_database, is_flushing=False) as one,
        running(each_database, is_flushing=False) as two,
        running(each_database, is_flushing=False) as three,
    ):
        gateways = [one, two, three]
        await one.put("tee", 10)
        await one.flush()
        held = await one.reserve(("tee", 1))
        await one.redis("HSET", one.shard.keys.meta, "poison", "a test")
        for gateway in gateways:
            gateway.shard.close()

        await asyncio.gather(*[opened(gateway) for gateway in gateways])

        assert {gateway.shard.epoch for gateway in gateways} == {2}
        row = await one.ledger.read_shard(0)
        assert (row.state, row.epoch, row.generation) == ("open", 2, 2)
        for gateway in gateways:
            await gateway.reserve(("tee", 1))
            assert (await gateway.read(held)).reservation.state == "held"
        assert (await two.level("tee")).held == 4
        await two.flush()
        assert await three.ledger.read_shard(0) == await two.ledger.read_shard(0)


async def test_openers_of_empty_stores_agree_on_epoch_one(each_database: Stores) -> None:
    """Two gateways that start on empty stores at once both work, under epoch 1."""

    async def start() -> Gateway:
        return await Gateway(each_database, is_flushing=False).__aenter__()

    first, second = await asyncio.gather(start(), start())
    try:
        assert (first.shard.epoch, second.shard.epoch) == (1, 1)
        await first.put("tee", 3)
        await second.reserve(("tee", 3))
        assert (await first.level("tee")).available == 0
    finally:
        await first.__aexit__(None, None, None)
        await second.__aexit__(None, None, None)


async def died_opening(gateway: Gateway) -> None:
    """Another gateway has raised the epoch, and was never heard of again."""
    row = await gateway.ledger.read_shard(0)
    assert await gateway.ledger.raise_epoch(0, row.epoch, "dead-1", 30_000) is not None


async def lease_over(stores: Stores) -> None:
    """The time is over that the dead opener had."""
    await run_sql(stores.database_url, "UPDATE shards SET owner_deadline_ms = 1 WHERE state = 'recovering'")


async def test_openers_wait_for_one_at_work_and_overtake_a_dead_one(each_database: Stores) -> None:
    """While the owner's time runs the shard is recovering for everybody else; then the next one opens it with all that was there."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.flush()
        held = await gateway.reserve(("tee", 1))
        await died_opening(gateway)
        gateway.shard.close()
        for _ in range(2):
            with pytest.raises(ShardRecovering, match="another gateway"):
                await gateway.keep()
        assert (await gateway.ledger.read_shard(0)).epoch == 2

        await lease_over(each_database)
        assert await gateway.keep() == 1

        assert gateway.shard.epoch == 3
        assert (await gateway.read(held)).reservation.state == "held"
        await gateway.flush()
        assert await gateway.violations() == []


async def test_openers_that_died_leave_the_end_of_the_epoch_before_known(each_database: Stores) -> None:
    """A hold lost with Redis is told as lost also when the first one to open the shard died on the way."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.flush()
        lost = await gateway.reserve(("tee", 1))
        await gateway.redis("FLUSHALL")
        await died_opening(gateway)
        await lease_over(each_database)
        gateway.shard.close()
        await gateway.keep()
        assert gateway.shard.epoch == 3
        with pytest.raises(ReservationLost):
            await gateway.read(lost)


async def test_openers_that_were_overtaken_change_nothing(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """An opener that comes back after its time finds the shard another's: it neither commits nor opens."""
    await idle.put("tee", 10)
    await idle.flush()
    await idle.reserve(("tee", 1))
    await idle.redis("HSET", idle.shard.keys.meta, "poison", "a test")
    idle.shard.close()
    read_tail = idle.opener._tail

    async def overtaken(*arguments: object, **named: object) -> object:
        tail = await read_tail(*arguments, **named)  # type: ignore[arg-type]
        row = await idle.ledger.read_shard(0)
        if row.state == "recovering" and row.owner == idle.opener._owner:
            await idle.ledger.raise_epoch(0, row.epoch, row.owner, 0)
            await idle.ledger.open_shard(0, row.epoch + 1, row.owner, 7, 0, [])
        return tail

    monkeypatch.setattr(idle.opener, "_tail", overtaken)
    with pytest.raises(ShardRecovering, match="overtaken"):
        await idle.keep()
    row = await idle.ledger.read_shard(0)
    assert (row.state, row.epoch, row.generation, row.checkpoint) == ("open", 3, 7, 2)
    assert await idle.redis("HGET", idle.shard.keys.meta, "epoch") == "1"


async def test_openers_that_die_between_redis_and_the_row_are_followed(each_database: Stores) -> None:
    """An opener that rebuilt Redis and died before the row said so: the next one keeps what was built."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        held = await gateway.reserve(("tee", 1))
        await gateway.flush()
        await gateway.redis("FLUSHALL")
        gateway.shard.close()
        with pytest.MonkeyPatch.context() as patch:

            async def die(*_: object) -> bool:
                raise ShardRecovering("dead")

            patch.setattr(gateway.ledger, "open_shard", die)
            with pytest.raises(ShardRecovering):
                await gateway.keep()
        assert not gateway.shard.is_open
        await gateway.keep()
        assert (await gateway.read(held)).reservation.state == "held"
        assert (await gateway.level("tee")).held == 1
        await gateway.flush()
        assert await gateway.violations() == []
