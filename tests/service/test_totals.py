"""The running totals where a shard is opened, and in the conservation check."""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain.errors import ShardRecovering
from gateway.domain.totals import Totals
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


async def closed_by_restart(gateway: Gateway) -> None:
    """Redis was restarted with its data."""
    await gateway.redis("HSET", gateway.shard.keys.meta, "lineage", "of a server before")
    gateway.shard.close()


async def in_redis(gateway: Gateway) -> str:
    """What meta counts."""
    return str(await gateway.redis("HGET", gateway.shard.keys.meta, "totals"))


async def trade(gateway: Gateway) -> None:
    """Something of everything is counted."""
    await gateway.put("tee", 10, deduction=2)
    await gateway.put("mug", 5)
    await gateway.confirm(await gateway.reserve(("tee", 3)))
    await gateway.flush()
    await gateway.reserve(("mug", 1))


TRADED = Totals(held=1, on_hand=15, committed=3, deducted=2)


async def test_totals_are_adopted_with_the_tail(each_database: Stores) -> None:
    """After a restart of Redis both stores count the same, the tail included, and go on from there."""
    async with running(each_database, is_flushing=False) as gateway:
        await trade(gateway)
        await closed_by_restart(gateway)

        assert await gateway.keep() == 1

        row = await gateway.ledger.read_shard(0)
        assert (row.epoch, row.totals) == (2, TRADED)
        assert await in_redis(gateway) == TRADED.pack()


async def test_totals_of_a_rebuilt_shard_are_the_durable_ones(each_database: Stores) -> None:
    """What Redis lost before it was committed is in neither count."""
    async with running(each_database, is_flushing=False) as gateway:
        await trade(gateway)
        await gateway.redis("FLUSHALL")
        gateway.shard.close()

        assert await gateway.keep() == 1

        assert await in_redis(gateway) == TRADED._replace(held=0).pack()
        await gateway.reserve(("mug", 1))
        await gateway.flush()
        assert (await gateway.ledger.read_shard(0)).totals == TRADED


@pytest.mark.parametrize("has_tail", [True, False])
async def test_totals_that_differ_are_not_adopted(each_database: Stores, has_tail: bool) -> None:
    """A counter that was changed by hand, and then by a script, is found at the next opening: the shard halts and says so."""
    async with running(each_database, is_flushing=False, is_drained=False) as gateway:
        await trade(gateway)
        key = gateway.shard.keys.sku("main", "mug")
        numbers = (await gateway.redis("HGET", key, "Lmain")).split(" ")
        await gateway.redis("HSET", key, "Lmain", " ".join([str(int(numbers[0]) + 4), *numbers[1:]]))
        await gateway.reserve(("mug", 1))
        if not has_tail:
            await gateway.flush()
        await closed_by_restart(gateway)

        assert await gateway.keep() == 0

        row = await gateway.ledger.read_shard(0)
        assert (row.state, row.epoch) == ("halted", 2)
        assert row.halted_reason == (
            f"the totals of shard 0 differ at seq {row.checkpoint} of epoch 1:"
            " (held, on_hand, committed, deducted) is '2 15 3 2' in Redis and '2 19 3 2' here"
        )
        with pytest.raises(ShardRecovering, match="differ"):
            await gateway.reserve(("mug", 1))


async def test_totals_that_a_tail_tells_are_compared_when_it_is_committed(stores: Stores) -> None:
    """A checkpoint event in the tail is compared like any other, and nothing behind it is committed."""
    async with running(stores, is_flushing=False, is_drained=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.redis("HSET", gateway.shard.keys.meta, "totals", "0 11 0 0")
        for number in range(999):
            await gateway.adjust("tee", 1 - 2 * (number % 2), f"k{number}")
        await closed_by_restart(gateway)

        assert await gateway.keep() == 0

        row = await gateway.ledger.read_shard(0)
        assert (row.state, row.checkpoint) == ("halted", 0)
        assert row.halted_reason is not None
        assert row.halted_reason.endswith("on_hand is 11 in Redis and 10 here")


async def test_totals_that_redis_lost_come_from_the_durable_store(each_database: Stores) -> None:
    """Without them, as a version before this one left it, a shard is closed, nothing is lost, and both count again."""
    async with running(each_database, is_flushing=False) as gateway:
        await trade(gateway)
        await gateway.redis("HDEL", gateway.shard.keys.meta, "totals")
        with pytest.raises(ShardRecovering):
            await gateway.reserve(("mug", 1))

        assert await gateway.keep() == 1

        assert gateway.shard.epoch == 2
        assert await in_redis(gateway) == TRADED.pack()
        await gateway.reserve(("mug", 1))
        await gateway.flush()
        assert await gateway.violations() == []


async def test_totals_are_looked_for_before_joining_in(each_database: Stores) -> None:
    """A gateway that starts where an older version was at work does not join in under its epoch: scripts need the totals."""
    async with running(each_database, is_flushing=False) as older:
        await trade(older)
        await older.redis("HDEL", older.shard.keys.meta, "totals")
        async with running(each_database, is_flushing=False) as gateway:
            assert gateway.shard.epoch == 2
            assert await in_redis(gateway) == TRADED.pack()
            await gateway.flush()
        await older.kill()


# The conservation check


async def test_conservation_names_a_total_that_is_not_the_sum(each_database: Stores) -> None:
    """Either store's totals are compared with the levels; in Redis also what is not committed yet counts."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.reserve(("tee", 2))
        check = asyncio.create_task(gateway.violations())
        await gateway.until_awaited()
        await gateway.flush()
        assert await check == []
        meta = gateway.shard.keys.meta
        right = await in_redis(gateway)
        await gateway.redis("HSET", meta, "totals", "2 10 1 0")
        assert await gateway.violations() == ["1 totals redis committed"]
        await gateway.redis("HSET", meta, "totals", "2 10 1")
        assert await gateway.violations() == ["1 totals redis"]
        await gateway.redis("HSET", meta, "totals", right)

        await run_sql(each_database.database_url, "UPDATE shards SET deducted = 3, held = 1")

        assert await gateway.violations() == ["1 totals durable held", "1 totals durable deducted"]
        await run_sql(each_database.database_url, "UPDATE shards SET deducted = 0, held = 2")
