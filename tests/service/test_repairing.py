"""A repair names every kind of damage in its plan, mends it, tells the log, and finds nothing the second time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.domain.errors import GatewayError, ShardHalted, ShardRecovering
from gateway.domain.repair import Repair
from gateway.service.repairing import Repairer
from tests.contract.sql import run_sql
from tests.service.damage import part_of
from tests.service.gateway import running
from tests.service.stores import Stores
from tests.service.test_conservation import oversell
from tests.service.traded import REASON, Traded


@pytest.fixture
async def traded(each_database: Stores) -> AsyncIterator[Traded]:
    """Clean books: tee has 10, 2 of them held and 3 sold; mug has 5, 1 held and 1 shipped."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.put("mug", 5)
        held = await gateway.reserve(("tee", 2), ("mug", 1))
        sold = await gateway.confirm(await gateway.reserve(("tee", 3)))
        await gateway.fulfil(await gateway.confirm(await gateway.reserve(("mug", 1))))
        await gateway.flush()
        assert await gateway.violations() == []
        yield Traded(gateway, each_database.database_url, held, sold)


TOLD = {"reservation_restored", "level_corrected"}  # by an event of its own each
Damage = Callable[[Traded], Awaitable[None]]


async def hot_counter(traded: Traded) -> None:
    """One counter in Redis."""
    await traded.level("tee", 1, +1)


async def hot_counter_that_the_log_carried_on(traded: Traded) -> None:
    """One counter in Redis, and then sales on it that were logged as Redis had them."""
    await traded.level("tee", 1, +1)
    await traded.gateway.release(await traded.gateway.reserve(("tee", 1)))
    await traded.gateway.flush()


async def hot_stock_that_the_log_carried_on(traded: Traded) -> None:
    """What is on the shelf, in Redis, and then a sale."""
    await traded.level("tee", 0, +4)
    await traded.gateway.confirm(await traded.gateway.reserve(("tee", 1)))
    await traded.gateway.flush()


async def hot_hold_gone(traded: Traded) -> None:
    """A hold's key."""
    await traded.gateway.redis("DEL", traded.gateway.shard.keys.reservation(part_of(traded.held)))


async def hot_sku_gone(traded: Traded) -> None:
    """A sku's key."""
    await traded.gateway.redis("DEL", traded.gateway.shard.keys.sku("main", "tee"))


async def hot_orphan(traded: Traded) -> None:
    """An entry of a hold that nobody has, in the index of a sku and so in the shard's."""
    keys = traded.gateway.shard.keys
    await traded.gateway.redis("ZADD", keys.holds("main", "tee"), 1, "nobodynobodynobo")


async def hot_index_gone(traded: Traded) -> None:
    """A hold is in no index: it would never end."""
    await traded.gateway.redis("DEL", traded.gateway.shard.keys.holds("main", "mug"))


async def hot_due_wrong(traded: Traded) -> None:
    """The shard's index has a sku at the wrong time."""
    await traded.gateway.redis("ZADD", traded.gateway.shard.keys.due, 5, "main/tee")


async def durable_held(traded: Traded) -> None:
    """A level's row counts units that nobody holds."""
    await traded.sql("UPDATE levels SET held = held + 4 WHERE sku = 'tee'")


async def durable_on_hand(traded: Traded) -> None:
    """A level's row has another shelf."""
    await traded.sql("UPDATE levels SET on_hand = on_hand + 1 WHERE sku = 'mug'")


async def durable_level_gone(traded: Traded) -> None:
    """A level's row."""
    await traded.sql("DELETE FROM levels WHERE sku = 'tee'")


async def durable_hold_gone(traded: Traded) -> None:
    """A hold's row, of several skus."""
    await traded.sql(f"DELETE FROM reservations WHERE id = '{part_of(traded.held)}'")


async def hold_in_neither_store(traded: Traded) -> None:
    """A hold's row and its key: the log alone has it."""
    await hot_hold_gone(traded)
    await durable_hold_gone(traded)


async def durable_state(traded: Traded) -> None:
    """A sale's row says that it was released."""
    await traded.sql(f"UPDATE reservations SET state = 'released' WHERE id = '{part_of(traded.sold)}'")


async def durable_ended(traded: Traded) -> None:
    """The row of a shipped one says that it is held."""
    await traded.sql("UPDATE reservations SET state = 'held' WHERE state = 'fulfilled'")


async def both_stores(traded: Traded) -> None:
    """Damage of several kinds at once."""
    await durable_held(traded)
    await durable_state(traded)
    await hot_orphan(traded)


DAMAGES: dict[Damage, list[str]] = {
    hot_counter: ["redis_rebuilt shard 0"],
    hot_counter_that_the_log_carried_on: ["level_corrected main/tee/main", "redis_rebuilt shard 0"],
    hot_stock_that_the_log_carried_on: ["level_corrected main/tee/main", "redis_rebuilt shard 0"],
    hot_hold_gone: ["redis_rebuilt shard 0"],
    hot_sku_gone: ["redis_rebuilt shard 0"],
    hot_orphan: ["redis_rebuilt shard 0"],
    hot_index_gone: ["redis_rebuilt shard 0"],
    hot_due_wrong: ["redis_rebuilt shard 0"],
    durable_held: ["level_corrected main/tee/main", "totals_recounted shard 0", "redis_rebuilt shard 0"],
    durable_on_hand: ["level_corrected main/mug/main", "totals_recounted shard 0", "redis_rebuilt shard 0"],
    durable_level_gone: ["level_corrected main/tee/main", "totals_recounted shard 0", "redis_rebuilt shard 0"],
    durable_hold_gone: ["reservation_restored HELD", "redis_rebuilt shard 0"],
    hold_in_neither_store: ["reservation_restored HELD", "redis_rebuilt shard 0"],
    durable_state: ["reservation_restored SOLD", "redis_rebuilt shard 0"],
    both_stores: [
        "reservation_restored SOLD",
        "level_corrected main/tee/main",
        "totals_recounted shard 0",
        "redis_rebuilt shard 0",
    ],
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_repair_mends_what_its_plan_names(traded: Traded, damage: Damage) -> None:
    """The plan names the damage, the repair mends it, the second plan is empty, and units and holds are as they were before."""
    gateway = traded.gateway
    levels = {sku: await gateway.level(sku) for sku in ("tee", "mug")}
    await damage(traded)

    plan = await traded.plan()
    named = {str(traded.held.reservation.id): "HELD", str(traded.sold.reservation.id): "SOLD"}
    assert [f"{step.kind} {named.get(step.where, step.where)}" for step in plan.steps] == DAMAGES[damage]
    assert plan.for_human == []
    assert await traded.repaired_events() == []
    done = await traded.apply(plan)

    assert done.is_applied
    assert await gateway.violations() == []
    again = await traded.plan()
    assert (again.steps, again.for_human) == ([], [])
    assert not (await traded.apply(again)).is_applied
    events = await traded.repaired_events()
    assert events[0] == ("shard.repaired", "key:operator", REASON)
    assert len(events) == 1 + sum(step.kind in TOLD for step in plan.steps)
    stored = await gateway.ledger.read_events(0, 0, 1000)
    (first,) = [row.seq for row in stored if row.type == "shard.repaired"]
    assert (await gateway.ledger.epoch_ends(0))[1] == first - 1  # the repair is the first thing of its epoch
    if "carried_on" not in damage.__name__:
        for sku, before in levels.items():
            now = await gateway.level(sku)
            assert (now.on_hand, now.held, now.committed) == (before.on_hand, before.held, before.committed)
    assert (await gateway.read(traded.held)).reservation.state == "held"
    assert (await gateway.read(traded.sold)).reservation.state == "confirmed"
    await gateway.release(traded.held)
    await gateway.fulfil(traded.sold)
    await gateway.flush()
    assert await gateway.violations() == []


async def test_repair_takes_back_what_nobody_put_on_the_shelf(traded: Traded) -> None:
    """Stock that was changed in Redis beside the log goes, what was sold since stays: what a source said and the differences count."""
    await hot_stock_that_the_log_carried_on(traded)
    plan = await traded.plan()
    assert "on_hand 14, held 2, committed 4" in plan.steps[0].change
    assert "→ on_hand 10, held 2, committed 4" in plan.steps[0].change
    assert (await traded.apply(plan)).is_applied
    level = await traded.gateway.level("tee")
    assert (level.on_hand, level.held, level.committed) == (10, 2, 4)


async def test_repair_of_a_row_that_ended_is_told_apart(traded: Traded) -> None:
    """A shipped reservation whose row says held is shipped again, by its last event in the log."""
    await durable_ended(traded)
    plan = await traded.plan()
    assert plan.steps[0].change == "held → fulfilled"
    assert (await traded.apply(plan)).is_applied
    assert await traded.gateway.violations() == []


async def test_repair_leaves_a_damaged_log_to_a_human(traded: Traded) -> None:
    """Where the log has a gap or a broken digest nothing is corrected by it: what to do is told, and no event is made."""
    await durable_held(traded)
    await traded.sql("UPDATE events SET digest = 'x' WHERE seq = 4")
    plan = await traded.plan()
    assert {(task.kind, task.where) for task in plan.for_human} >= {("digest", "seq 4")}
    assert all("backup" in task.advice for task in plan.for_human if task.kind == "digest")
    assert [step.kind for step in plan.steps] == ["redis_rebuilt"]  # Redis differs from the level's row


async def test_repair_leaves_a_row_that_no_event_knows_to_a_human(traded: Traded) -> None:
    """A reservation of which the log tells nothing is not deleted by a machine."""
    part = part_of(traded.held)
    await traded.sql("DELETE FROM reservation_skus")
    await traded.sql(f"UPDATE reservations SET id = 'nobodynobodynobo' WHERE id = '{part}'")
    plan = await traded.plan()
    assert [(task.kind, task.where) for task in plan.for_human] == [("row", "nobodynobodynobo")]
    assert [step.kind for step in plan.steps] == ["reservation_restored", "redis_rebuilt"]


async def test_repair_of_an_oversell_is_a_humans(traded: Traded) -> None:
    """Units that were promised and never were: the log says so, and no machine decides who gets none."""
    await oversell(traded.gateway, "mug")
    await traded.gateway.flush()
    plan = await traded.plan()
    assert [(task.kind, task.where) for task in plan.for_human] == [("oversold", "main/mug/main")]
    assert plan.steps == []


async def test_repair_with_another_plan_does_nothing(traded: Traded) -> None:
    """What was not shown is not done: a plan of before the damage, or of other damage, changes nothing and comes back as it is now."""
    empty = await traded.plan()
    await durable_held(traded)
    first = await traded.plan()
    assert not (await traded.apply(empty)).is_applied
    await durable_state(traded)
    done = await traded.apply(first)
    assert (done.is_applied, len(done.plan.steps)) == (False, 4)
    assert traded.gateway.shard.epoch == 1
    assert (await traded.apply(done.plan)).is_applied


async def test_repair_finds_the_same_plan_while_sales_go_on(traded: Traded) -> None:
    """A level that sells goes on selling between the plan and the repair: the difference is the same, and it alone is corrected."""
    gateway = traded.gateway
    await durable_held(traded)
    await gateway.redis("DEL", gateway.shard.keys.holds("main", "mug"))
    plan = await traded.plan()
    bought = await gateway.reserve(("mug", 1))
    await gateway.flush()
    assert (await traded.apply(plan)).is_applied
    assert (await gateway.read(bought)).reservation.state == "held"
    assert await gateway.violations() == []


async def test_repair_behind_the_fence_that_finds_another_plan_reopens(
    traded: Traded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage that comes between the look and the fence was not in the plan: nothing is done, and the shard works on."""
    await durable_held(traded)
    plan = await traded.plan()
    fence = Repairer._fence

    async def late(self: Repairer, *arguments: object) -> object:
        await traded.sql("UPDATE levels SET held = held + 1 WHERE sku = 'tee'")
        return await fence(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Repairer, "_fence", late)
    done = await traded.apply(plan)
    assert (done.is_applied, done.epoch) == (False, 2)
    assert await traded.repaired_events() == []
    assert await traded.gateway.keep() == 0
    await traded.gateway.reserve(("tee", 1))


async def test_repair_of_a_halted_shard_that_finds_another_plan_leaves_it_halted(
    traded: Traded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A halt is lifted by what was planned, and by nothing else: the reason stays, and nobody sells."""
    await traded.gateway.ledger.halt(0, 1, "for a test")
    traded.gateway.shard.close()
    await traded.gateway.keep()
    plan = await traded.plan()
    fence = Repairer._fence

    async def late(self: Repairer, *arguments: object) -> object:
        await durable_held(traded)
        return await fence(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Repairer, "_fence", late)
    done = await traded.apply(plan)
    assert (done.is_applied, next(step.kind for step in done.plan.steps)) == (False, "level_corrected")
    row = await traded.gateway.ledger.read_shard(0)
    assert (row.state, row.halted_reason) == ("halted", "for a test")


async def test_repair_commits_what_was_answered_until_the_fence(
    traded: Traded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold that nobody had committed yet when the shard was closed is in the durable store before Redis is rebuilt from it."""
    gateway, held = traded.gateway, []
    await hot_due_wrong(traded)
    plan = await traded.plan()
    fence = Repairer._fence

    async def late(self: Repairer, *arguments: object) -> object:
        held.append(await gateway.reserve(("mug", 2)))
        return await fence(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Repairer, "_fence", late)
    assert (await traded.apply(plan)).is_applied
    assert (await gateway.read(held[0])).reservation.state == "held"
    assert await gateway.violations() == []


@pytest.mark.parametrize("at", ["_fence", "_tell", "_reopen", "_install", "_publish"])
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("is_halted", [False, True])
async def test_repair_that_died_ends_right_when_it_is_run_again(
    traded: Traded, monkeypatch: pytest.MonkeyPatch, at: str, is_after: bool, is_halted: bool
) -> None:
    """Killed before or after any step: a halted shard stays so, another is opened as after a crash, the next repair ends it."""
    gateway = traded.gateway
    await both_stores(traded)
    if is_halted:
        await gateway.ledger.halt(0, 1, "for a test")
        gateway.shard.close()
        await gateway.keep()
    plan = await traded.plan()
    step = getattr(Repairer, at)

    async def dies(self: Repairer, *arguments: object, **options: object) -> object:
        if is_after:
            await step(self, *arguments, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Repairer, at, dies)
        with pytest.raises(Killed):
            await traded.apply(plan)
    await traded.sql("UPDATE shards SET owner_deadline_ms = 1 WHERE owner_deadline_ms > 0")
    gateway.shard.close()
    for _ in range(2):
        with contextlib.suppress(ShardRecovering):
            await gateway.keep()
    if gateway.shard.is_open:
        await gateway.flush()
    row = await gateway.ledger.read_shard(0)
    if is_halted and not (is_after and at in {"_publish", "_reopen"}):
        assert row.is_halted
        with pytest.raises(ShardHalted):
            await gateway.reserve(("tee", 1))

    for _ in range(2):
        left = await traded.plan()
        if left.steps:
            assert (await traded.apply(left)).is_applied
    assert (await traded.plan()).steps == []
    assert await gateway.violations() == []
    assert (await gateway.read(traded.sold)).reservation.state == "confirmed"
    level = await gateway.level("tee")
    assert (level.on_hand, level.held, level.committed) == (10, 2, 3)


class Killed(Exception):
    """The process ended here."""


async def test_repairs_at_once_one_wins(patient_locks: None, each_database: Stores) -> None:
    """Two operators, two gateways: one repairs, the other is told to look again, and the log has one repair."""
    async with running(each_database, is_flushing=False) as first, running(each_database, is_flushing=False) as second:
        await first.put("tee", 10)
        held = await first.reserve(("tee", 2))
        await first.flush()
        one, two = (Traded(gateway, each_database.database_url, held, held) for gateway in (first, second))
        await durable_held(one)
        second.watermark.rise(first.watermark.seq)
        plan = await one.plan()
        assert (await two.plan()).id == plan.id

        done = await asyncio.gather(one.apply(plan), two.apply(plan), return_exceptions=True)

        won = [each for each in done if isinstance(each, Repair) and each.is_applied]
        assert len(won) == 1, done
        assert all(isinstance(each, (Repair, GatewayError)) for each in done), done
        events = await one.repaired_events()
        assert [type for type, _, _ in events] == ["shard.repaired", "stock.repaired"]


async def test_repair_under_traffic_loses_nothing(each_database: Stores) -> None:
    """While buyers hold and buy, a repair closes the shard for a moment: what was answered before stands, and the books are clean."""
    async with running(each_database) as gateway:
        await gateway.put("tee", 1_000_000, ack="durable")  # more than is sold while a busy machine repairs
        await gateway.put("mug", 1000, ack="durable")
        traded = Traded(gateway, each_database.database_url, *[await gateway.reserve(("mug", 1), ack="durable")] * 2)
        answered: list[ReservationAnswer] = []
        is_over = False

        async def buyer() -> None:
            while not is_over:
                with contextlib.suppress(GatewayError):
                    answered.append(await gateway.reserve(("tee", 1)))
                    answered[-1] = await gateway.confirm(answered[-1], ack="durable")
                await asyncio.sleep(0.001)

        def have_answered(more: int) -> bool:
            for one in buyers:
                if one.done():
                    one.result()  # a buyer that failed is why nobody answers
            return len(answered) >= more

        buyers = [asyncio.create_task(buyer()) for _ in range(6)]
        await until(lambda: have_answered(30))
        await run_sql(each_database.database_url, "UPDATE levels SET held = held + 4 WHERE sku = 'mug'")
        done = None
        while done is None or not done.is_applied:
            done = await traded.apply(await traded.plan())
        before = len(answered)
        await until(lambda: have_answered(before + 30))
        is_over = True
        await asyncio.gather(*buyers)
        await gateway.flush()
        assert await gateway.violations() == []
        for one in answered:
            assert (await gateway.read(one)).reservation.state in ("held", "confirmed")


async def until(is_so: Callable[[], bool]) -> None:
    """It has come to that."""
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - buyers tell nobody
            await asyncio.sleep(0.01)


async def test_repair_of_many_levels_is_told_in_several_entries(
    traded: Traded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one entry may hold are written one after the other, each chained to the one before."""
    monkeypatch.setattr("gateway.service.repair_entry.EVENTS_MAX", 2)
    await durable_held(traded)
    await durable_on_hand(traded)
    await durable_state(traded)
    assert (await traded.apply(await traded.plan())).is_applied
    assert len(await traded.repaired_events()) == 4
    assert await traded.gateway.violations() == []
