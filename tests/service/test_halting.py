"""A shard that halts: why, what callers and operators are told, and that nothing but the operator opens it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import structlog

from gateway import metrics
from gateway.domain.errors import GatewayError, ShardHalted
from gateway.hot.log import ChainBroken
from gateway.service import halting
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, running
from tests.service.older import copied, put_back
from tests.service.stores import Stores


async def lose_redis(gateway: Gateway) -> None:
    """Redis is empty and the process has noticed."""
    await gateway.redis("FLUSHALL")
    gateway.shard.close()


async def test_halting_after_too_many_rebuilds(each_database: Stores) -> None:
    """As many rebuilds as are allowed go by; one more is not made. What was committed is as it was."""
    each_database.rebuilds_max = 2
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        await gateway.flush()
        for _ in range(2):
            await lose_redis(gateway)
            assert await gateway.keep() == 1
        await gateway.reserve(("tee", 1))
        await gateway.flush()

        await lose_redis(gateway)
        assert await gateway.keep() == 0

        row = await gateway.ledger.read_shard(0)
        assert row.state == "halted"
        assert row.halted_reason is not None
        assert row.halted_reason.startswith("2 rebuilds in 10 minutes")
        assert await gateway.keys() == []
        with pytest.raises(ShardHalted, match="2 rebuilds in 10 minutes") as refused:
            await gateway.reserve(("tee", 1))
        assert refused.value.outcome == "not_applied"


async def test_halting_counts_rebuilds_of_all_gateways(stores: Stores) -> None:
    """Two gateways that take turns at rebuilding do not get twice as many."""
    stores.rebuilds_max = 2
    async with running(stores, is_flushing=False) as first, running(stores, is_flushing=False) as second:
        for gateway in (first, second):
            await lose_redis(gateway)
            assert await gateway.keep() == 1
        first.shard.close()
        assert await first.keep() == 1  # it joins in: no rebuild
        await lose_redis(first)
        assert await first.keep() == 0
        second.shard.close()
        assert await second.keep() == 0
        assert first.shard.halted_reason == second.shard.halted_reason != ""


async def test_halting_counts_neither_starts_nor_adoptions_nor_old_ones(stores: Stores) -> None:
    """A process that starts rebuilds an empty Redis; an epoch over whole data is none; ten minutes later all is forgotten."""
    stores.rebuilds_max = 1
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        await gateway.flush()
        await gateway.redis("FLUSHALL")
    for _ in range(3):
        async with running(stores, is_flushing=False, is_drained=False) as gateway:
            await gateway.redis("FLUSHALL")
    async with running(stores, is_flushing=False) as gateway:
        for _ in range(3):
            await gateway.redis("HSET", gateway.shard.keys.meta, "lineage", "of a server before")
            gateway.shard.close()
            assert await gateway.keep() == 1
        await lose_redis(gateway)
        assert await gateway.keep() == 1
        window_ms = halting.REBUILDS_WINDOW_MS
        await run_sql(stores.database_url, f"UPDATE rebuilds SET at_ms = at_ms - {window_ms}")
        await lose_redis(gateway)
        assert await gateway.keep() == 1
        await lose_redis(gateway)
        assert await gateway.keep() == 0


async def test_halting_does_not_count_what_was_opened_elsewhere(stores: Stores) -> None:
    """A server that kept all it was given is rebuilt because others opened the shard on another one, as often as they do. One that
    was emptied counts all the same."""
    stores.rebuilds_max = 1
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 9)
        await gateway.flush()
        for _ in range(3):
            await gateway.reserve(("tee", 1))  # lost: the epoch is ended before it
            row = await gateway.ledger.read_shard(0)
            epoch = row.epoch + 1
            assert await gateway.ledger.raise_epoch(0, row.epoch, "elsewhere", 0) is not None
            assert await gateway.ledger.open_shard(0, epoch, "elsewhere", epoch, 0, [(row.epoch, row.checkpoint)])
            gateway.shard.close()
            assert await gateway.keep() == 1
            assert (await gateway.ledger.read_shard(0)).generation > epoch, "it was not rebuilt"

        await lose_redis(gateway)
        assert await gateway.keep() == 1
        await lose_redis(gateway)
        assert await gateway.keep() == 0


async def noticed_at_once(gateway: Gateway) -> None:
    """As a process that starts."""
    gateway.shard.close()


async def noticed_by_flushing(gateway: Gateway) -> None:
    """The gate refuses the next change, whose log does not continue the older books."""
    await gateway.reserve(("tee", 1))
    assert await gateway.turn() == 1  # the gate has refused it, and told where the row is
    with pytest.raises(ChainBroken):
        await gateway.turn()


@pytest.mark.parametrize("noticed", [noticed_at_once, noticed_by_flushing])
async def test_halting_where_redis_is_ahead_of_a_restored_database(
    each_database: Stores, noticed: Callable[[Gateway], Awaitable[None]]
) -> None:
    """Redis is told of a commit that the database does not know: nothing is sold, and nothing rebuilt from the older books."""
    url = each_database.database_url
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        await gateway.flush()
        older = await copied(url)
        sold = await gateway.confirm(await gateway.reserve(("tee", 2)))
        await gateway.flush()
        await put_back(url, older)
        generation = await gateway.redis("HGET", gateway.shard.keys.meta, "gen")

        await noticed(gateway)
        assert await gateway.keep() == 0

        row = await gateway.ledger.read_shard(0)
        assert (row.state, row.epoch) == ("halted", 1)
        assert "restored from a backup" in (row.halted_reason or "")
        with pytest.raises(ShardHalted):
            await gateway.reserve(("tee", 1))
        with pytest.raises(ShardHalted):
            await gateway.release(sold)
        assert gateway.shard.epoch == 1
        meta = await gateway.redis("HMGET", gateway.shard.keys.meta, "epoch", "shut", "gen")
        assert meta == ["0", "1", generation]
        assert await gateway.redis("EXISTS", gateway.shard.keys.reservation(sold.reservation.id.random_part)) == 1


async def test_halting_where_redis_has_a_later_epoch(stores: Stores) -> None:
    """An epoch that the database never gave is of a later copy of it, however the log continues."""
    async with running(stores, is_flushing=False) as gateway:
        older = await copied(stores.database_url)
        await gateway.redis("HSET", gateway.shard.keys.meta, "lineage", "of a server before")
        gateway.shard.close()
        assert await gateway.keep() == 1
        assert gateway.shard.epoch == 2
        await put_back(stores.database_url, older)
        gateway.shard.close()

        assert await gateway.keep() == 0

        assert "Redis is under epoch 2, the durable store under 1" in gateway.shard.halted_reason
        assert (await gateway.ledger.read_shard(0)).state == "halted"


async def test_halting_not_where_the_log_has_what_the_database_lost(stores: Stores) -> None:
    """A commit that the database lost, and that the log still has after the last one it knows, is made again: nothing is lost."""
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        older = await copied(stores.database_url)
        sold = await gateway.confirm(await gateway.reserve(("tee", 2)))
        await gateway.redis("HSET", gateway.shard.keys.meta, "checkpoint", 4)
        await put_back(stores.database_url, older)
        gateway.shard.close()

        assert await gateway.keep() == 1
        await gateway.flush()

        assert (await gateway.read(sold)).durable
        assert await gateway.violations() == []


async def test_halting_reaches_every_gateway_at_its_next_call(stores: Stores) -> None:
    """Who only asks Redis is told as well: nobody holds or sells there any more, and says so honestly."""
    async with running(stores, is_flushing=False) as first, running(stores, is_flushing=False) as second:
        await first.put("tee", 5)
        await first.flush()
        assert await first.ledger.halt(0, 1, "for a test")
        first.shard.close()
        assert await first.keep() == 0

        with pytest.raises(GatewayError) as refused:
            await second.reserve(("tee", 1))
        assert refused.value.code == "shard_recovering"
        assert refused.value.outcome == "not_applied"
        assert await second.keep() == 0
        with pytest.raises(ShardHalted, match="for a test"):
            await second.reserve(("tee", 1))


async def test_halting_whose_author_died_is_completed_by_the_next(stores: Stores) -> None:
    """The row is halted and Redis is not: whoever looks shuts it there, too."""
    async with running(stores, is_flushing=False) as first, running(stores, is_flushing=False) as second:
        await first.put("tee", 5)
        await first.ledger.halt(0, 1, "for a test")
        await second.reserve(("tee", 1))
        first.shard.close()
        await first.keep()
        with pytest.raises(GatewayError):
            await second.reserve(("tee", 1))


async def test_halting_outlives_a_restart_and_the_gateway_starts(stores: Stores) -> None:
    """A process that starts on a halted shard runs, is not ready, says why, and changes nothing."""
    async with running(stores) as gateway:
        await gateway.put("tee", 5, ack="durable")
        await gateway.ledger.halt(0, 1, "for a test")
    async with running(stores) as gateway:
        ready = await gateway.operations.readiness()
        assert not ready.is_ready
        assert ready.checks["shards"]["problem"] == "shard 0 is halted: for a test; see `gateway repair --plan`"
        with pytest.raises(ShardHalted, match="for a test"):
            await gateway.put("tee", 6, sequence=2)
        page = await gateway.stock.catalogue(gateway.call(), limit=10, cursor=None)
        assert [one.sku.sku for one in page.stock] == ["tee"]
        assert (await gateway.ledger.read_shard(0)).epoch == 1


async def test_halting_is_what_the_conservation_check_answers(stores: Stores) -> None:
    """Redis of a halted shard is not looked into: the check is refused at once, with the reason, in a process that starts then, too."""
    async with running(stores) as gateway:
        await gateway.put("tee", 5, ack="durable")
        await gateway.reserve(("tee", 2), ack="durable")
        await gateway.ledger.halt(0, 1, "for a test")
        gateway.shard.close()
        assert await gateway.keep() == 0
        with pytest.raises(ShardHalted, match="for a test"):
            await gateway.violations()
    async with running(stores) as gateway:
        with pytest.raises(ShardHalted, match="for a test"):
            await gateway.violations()


async def test_halting_is_told_once_and_looked_at_cheaply(idle: Gateway) -> None:
    """One line in the log, a gauge that stays, and per turn one row read and no call of Redis."""
    await idle.ledger.halt(0, 1, "for a test")
    idle.shard.close()
    with structlog.testing.capture_logs() as lines:
        assert await idle.keep() == 0
        before = await calls(idle)
        for _ in range(5):
            assert await idle.keep() == 0
        assert await calls(idle) - before == 1  # this one
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["shard_halted"]
    assert metrics.SHARDS_HALTED._value.get() == 1


async def calls(gateway: Gateway) -> int:
    """How many commands Redis has had."""
    told = str(await gateway.redis("INFO", "stats"))
    return int(told.split("total_commands_processed:")[1].split(maxsplit=1)[0])
