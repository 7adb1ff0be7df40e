"""Several gateways want to open one shard: the row in the durable store decides, and a dead one is overtaken."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from gateway.domain.errors import ReservationLost, ShardRecovering, SkuNotFound
from gateway.hot.meta import read_meta
from gateway.hot.shard import Shard
from gateway.service import claim, opening
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

pytestmark = pytest.mark.usefixtures("patient_locks")  # several gateways of one process meet at one row


async def opened(gateway: Gateway) -> None:
    """The keeper's turns until the shard is open and answers."""
    async with asyncio.timeout(10):
        while True:
            try:
                await gateway.keep()
                await gateway.stock.read("tee", gateway.call())
                return
            except ShardRecovering:
                await asyncio.sleep(0.01)
            except SkuNotFound:
                return


def neighbour(stores: Stores) -> AbstractAsyncContextManager[Gateway]:
    """One of several gateways on the same stores; it leaves without a word."""
    return running(stores, is_flushing=False, is_drained=False)


async def test_openers_at_once_agree_on_one_epoch(each_database: Stores) -> None:
    """Three gateways find the shard poisoned and open it at once: all go on under one new epoch, with everything that was there."""
    async with neighbour(each_database) as one, neighbour(each_database) as two, neighbour(each_database) as three:
        gateways = [one, two, three]
        await one.put("tee", 10)
        await one.flush()
        held = await one.reserve(("tee", 1))
        await one.redis("HSET", one.shard.keys.meta, "poison", "a test")
        for gateway in gateways:
            gateway.shard.close()

        await asyncio.gather(*[opened(gateway) for gateway in gateways])
        await asyncio.gather(*[opened(gateway) for gateway in gateways])

        row = await one.ledger.read_shard(0)
        assert row.state == "open"
        assert {gateway.shard.epoch for gateway in gateways} == {row.epoch}
        for gateway in gateways:
            await gateway.reserve(("tee", 1))
            assert (await gateway.read(held)).reservation.state == "held"
        assert (await two.level("tee")).held == 4


async def test_openers_of_empty_stores_agree(each_database: Stores) -> None:
    """Two gateways that start on empty stores at once both work on the same units."""

    async def start() -> Gateway:
        return await Gateway(each_database, is_flushing=False).__aenter__()

    first, second = await asyncio.gather(start(), start())
    try:
        await asyncio.gather(opened(first), opened(second))
        assert first.shard.epoch == second.shard.epoch
        await first.put("tee", 3)
        await second.reserve(("tee", 3))
        assert (await first.level("tee")).available == 0
    finally:
        await first.kill()
        await second.kill()


async def test_openers_leave_a_shard_that_opened_meanwhile(stores: Stores) -> None:
    """Who finds the shard in recovery and comes to raise the epoch when it is open already attaches: nobody is thrown out."""
    async with neighbour(stores) as first, neighbour(stores) as second:
        await first.put("tee", 10)
        await first.redis("HSET", first.shard.keys.meta, "poison", "a test")
        for gateway in (first, second):
            gateway.shard.close()
        raise_first, raise_second = first.ledger.raise_epoch, second.ledger.raise_epoch
        is_raised, is_open = asyncio.Event(), asyncio.Event()

        async def raised(*arguments: Any, **named: Any) -> Any:
            row = await raise_first(*arguments, **named)
            is_raised.set()
            return row

        async def waits(*arguments: Any, **named: Any) -> Any:
            await is_open.wait()
            return await raise_second(*arguments, **named)

        async with asyncio.timeout(10):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(first.ledger, "raise_epoch", raised)
                patch.setattr(second.ledger, "raise_epoch", waits)
                opening = asyncio.create_task(first.keep())
                await is_raised.wait()
                late = asyncio.create_task(second.keep())
                await opening
                is_open.set()
                await asyncio.gather(late, return_exceptions=True)
        await opened(second)
        assert (await first.ledger.read_shard(0)).epoch == 2
        await first.reserve(("tee", 1))
        assert (await second.level("tee")).held == 1


async def test_openers_attach_to_a_shard_at_work(stores: Stores) -> None:
    """A gateway that starts beside one that is selling attaches, whatever is sold meanwhile: the epoch stays, no sale is refused."""
    async with neighbour(stores) as busy, neighbour(stores) as starting:
        await busy.put("tee", 10)
        starting.shard.close()

        async def overtaken_by_a_sale(shard: Shard) -> object:
            meta = await read_meta(shard)
            await busy.reserve(("tee", 1))
            return meta

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gateway.service.opening.read_meta", overtaken_by_a_sale)
            await starting.keep()
        assert (await busy.ledger.read_shard(0)).epoch == 1
        await busy.reserve(("tee", 1))
        assert (await starting.level("tee")).held == 2


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


async def test_openers_whose_clock_is_behind_wait_as_long_as_a_lease(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of a dead opener is over by the store's clock; a host whose own clock is wrong overtakes it all the same."""
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await died_opening(gateway)
        await lease_over(stores)
        gateway.shard.close()
        monkeypatch.setattr(claim.time, "time", lambda: 0.0)
        for _ in range(2):
            with pytest.raises(ShardRecovering, match="another gateway"):
                await gateway.keep()
        monkeypatch.setattr(opening, "OWNER_LEASE_MS", 0)
        assert await gateway.keep() == 1
        assert (await gateway.level("tee")).on_hand == 10


async def test_openers_that_died_leave_the_end_of_the_epoch_before_known(stores: Stores) -> None:
    """A hold lost with Redis is told as lost also when the first one to open the shard died on the way."""
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.flush()
        lost = await gateway.reserve(("tee", 1))
        await gateway.redis("FLUSHALL")
        await died_opening(gateway)
        await lease_over(stores)
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
    """An opener that rebuilt Redis and died before the row said so: the next one keeps what was built, and knows what was lost."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        held = await gateway.reserve(("tee", 1))
        await gateway.flush()
        lost = await gateway.reserve(("tee", 1))
        await gateway.redis("FLUSHALL")
        gateway.shard.close()
        with pytest.MonkeyPatch.context() as patch:

            async def die(*_: object, **__: object) -> bool:
                raise ShardRecovering("dead")

            patch.setattr(gateway.ledger, "open_shard", die)
            with pytest.raises(ShardRecovering):
                await gateway.keep()
        assert not gateway.shard.is_open
        await gateway.keep()
        assert (await gateway.read(held)).reservation.state == "held"
        assert (await gateway.level("tee")).held == 1
        with pytest.raises(ReservationLost):
            await gateway.read(lost)
        await gateway.flush()
        assert await gateway.violations() == []
