"""What halts a shard is ended by a repair: too many rebuilds, and a database that was restored from a backup."""

from __future__ import annotations

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.domain.errors import InvalidRequest, ReservationLost
from tests.service.gateway import Gateway, running
from tests.service.older import copied, put_back
from tests.service.stores import Stores
from tests.service.traded import Traded


async def test_repair_lifts_a_halt_after_too_many_rebuilds(each_database: Stores) -> None:
    """The halt is all there is to end; Redis, which was emptied, is rebuilt, and rebuilds are counted from zero again."""
    each_database.rebuilds_max = 0
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        held = await gateway.reserve(("tee", 2))
        await gateway.flush()
        await gateway.redis("FLUSHALL")
        gateway.shard.close()
        assert await gateway.keep() == 0
        traded = Traded(gateway, each_database.database_url, held, held)

        plan = await traded.plan()
        assert [(step.kind, step.change) for step in plan.steps] == [("halt_lifted", "halted → open")]
        assert "rebuilds in 10 minutes" in plan.steps[0].reason
        assert (await traded.apply(plan)).is_applied

        assert gateway.shard.is_open
        assert gateway.shard.halted_reason == ""
        assert (await gateway.level("tee")).held == 2
        await gateway.flush()
        assert await gateway.violations() == []
        assert [type for type, _, _ in await traded.repaired_events()] == ["shard.repaired"]


async def halted_ahead(stores: Stores, gateway: Gateway) -> tuple[Traded, ReservationAnswer]:
    """A database from before a sale and a hold; Redis knows both. Returns a hold of before as `held`, and the later hold."""
    await gateway.put("tee", 10)
    old = await gateway.reserve(("tee", 1))
    await gateway.flush()
    older = await copied(stores.database_url)
    sold = await gateway.confirm(await gateway.reserve(("tee", 2)))
    late = await gateway.reserve(("tee", 3))
    await gateway.release(old)
    await gateway.flush()
    await put_back(stores.database_url, older)
    gateway.shard.close()
    assert await gateway.keep() == 0
    return Traded(gateway, stores.database_url, old, sold), late


async def test_repair_of_a_restored_backup_needs_the_operators_choice(each_database: Stores) -> None:
    """The plan says what each choice would mean, and without one nothing can be applied. Redis cannot prove what lies between."""
    async with running(each_database, is_flushing=False) as gateway:
        traded, late = await halted_ahead(each_database, gateway)
        plan = await traded.plan()
        assert plan.steps == []
        (task,) = plan.for_human
        assert "--adopt-redis is not possible" in task.detail
        assert "2 reservations made since, 1 of them sold" in task.detail
        assert str(late.reservation.id) in task.detail
        assert "the changes since of 1 older one will be undone" in task.detail
        assert not (await traded.apply(plan)).is_applied
        refused = await traded.plan("redis")
        assert (refused.steps, refused.for_human[0].detail.split(":")[0]) == ([], "--adopt-redis is not possible")
        assert (await gateway.ledger.read_shard(0)).state == "halted"


async def test_repair_adopting_the_database_tells_what_is_lost(each_database: Stores) -> None:
    """Redis is dropped under an epoch above both: later holds and sales are answered as lost, older ones are as they were then."""
    async with running(each_database, is_flushing=False) as gateway:
        traded, late = await halted_ahead(each_database, gateway)
        await gateway.redis("HSET", gateway.shard.keys.meta, "shut", 7)  # Redis had seven epochs by then
        plan = await traded.plan("database")
        assert [step.kind for step in plan.steps] == ["redis_dropped", "redis_rebuilt", "halt_lifted"]

        assert (await traded.apply(plan)).is_applied

        assert gateway.shard.epoch == 8
        for lost in (late, traded.sold):
            with pytest.raises(ReservationLost):
                await gateway.read(lost)
        assert (await gateway.read(traded.held)).reservation.state == "held"
        level = await gateway.level("tee")
        assert (level.on_hand, level.held, level.committed) == (10, 1, 0)
        await gateway.confirm(await gateway.reserve(("tee", 9)))
        await gateway.flush()
        assert await gateway.violations() == []
        assert (await traded.plan()).steps == []


async def halted_with_its_log(stores: Stores, gateway: Gateway) -> Traded:
    """A database from before all sales and before the second epoch; the log of Redis still has everything since."""
    await gateway.put("tee", 10)
    older = await copied(stores.database_url)
    sold = await gateway.confirm(await gateway.reserve(("tee", 2)))
    await gateway.redis("HSET", gateway.shard.keys.meta, "lineage", "of a server before")
    gateway.shard.close()
    await gateway.keep()
    await gateway.reserve(("tee", 1))
    await put_back(stores.database_url, older)
    gateway.shard.close()
    assert await gateway.keep() == 0
    return Traded(gateway, stores.database_url, sold, sold)


async def test_repair_adopting_the_database_drops_also_what_could_be_proven(stores: Stores) -> None:
    """The operator has said which store is the truth: nothing that Redis alone knows comes back by the log."""
    async with running(stores, is_flushing=False) as gateway:
        traded = await halted_with_its_log(stores, gateway)
        assert (await traded.apply(await traded.plan("database"))).is_applied
        assert gateway.shard.epoch == 3
        with pytest.raises(ReservationLost):
            await gateway.read(traded.sold)
        await gateway.flush()
        assert await gateway.violations() == []


async def test_repair_adopting_redis_where_its_log_continues_loses_nothing(each_database: Stores) -> None:
    """A log that still has all since the backup proves what came: it is committed again, and Redis works on above both epochs."""
    async with running(each_database, is_flushing=False) as gateway:
        traded = await halted_with_its_log(each_database, gateway)
        sold = traded.sold
        assert "--adopt-redis is possible" in (await traded.plan()).for_human[0].detail

        plan = await traded.plan("redis")
        assert [step.kind for step in plan.steps] == ["redis_adopted", "halt_lifted"]
        assert (await traded.apply(plan)).is_applied

        assert gateway.shard.epoch == 3
        await gateway.flush()
        level = await gateway.level("tee")
        assert (level.on_hand, level.held, level.committed) == (10, 1, 2)
        assert (await gateway.read(sold)).durable
        assert await gateway.violations() == []


async def test_repair_adopts_nothing_where_nothing_is_ahead(idle: Gateway) -> None:
    """A choice between stores that agree is refused: it would only lose something."""
    with pytest.raises(InvalidRequest):
        await idle.operations.plan_repair("database")
