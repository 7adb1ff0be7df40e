"""Holds nobody asks about go back to stock by the sweep, a bounded number at a time."""

from __future__ import annotations

from structlog.testing import capture_logs

from gateway.service.sweeping import Sweeper
from tests.service.gateway import Gateway


async def test_sweeping_returns_what_is_due_and_nothing_else(idle: Gateway) -> None:
    """One turn gives back every hold past its deadline, as an event of its own; the others stay."""
    await idle.put("tee", 10)
    short = [await idle.reserve(("tee", 1), ttl_seconds=60) for _ in range(3)]
    long = await idle.reserve(("tee", 2), ttl_seconds=600)
    assert await idle.sweep() == 0
    await idle.advance(60_000)
    assert await idle.sweep() == 3
    assert await idle.sweep() == 0
    assert {(await idle.read(one)).reservation.state for one in short} == {"expired"}
    assert (await idle.read(long)).reservation.state == "held"
    assert (await idle.level("tee")).held == 2
    await idle.flush()
    types = [event.type for event in await idle.ledger.read_events(0, 0, 100)]
    assert types.count("stock.expired") == 3
    assert await idle.violations() == []


async def test_sweeping_takes_a_bounded_number_each_turn(idle: Gateway) -> None:
    """However many are due, a turn takes back `holds_max` of them, and further turns the rest."""
    await idle.put("tee", 100)
    await idle.put("mug", 100)
    for number in range(25):
        await idle.reserve(("tee" if number % 2 else "mug", 1), ttl_seconds=60)
    await idle.advance(60_000)
    sweeper = Sweeper(idle.books, 10)
    turns = []
    while done := await sweeper.step():
        turns.append(done)
        assert done <= 10
    assert sum(turns) == 25
    assert ((await idle.level("tee")).held, (await idle.level("mug")).held) == (0, 0)


async def test_sweeping_a_closed_shard_does_nothing(idle: Gateway) -> None:
    """A shard that is closed is left alone: there is nothing to take back for sure."""
    await idle.put("tee", 10)
    await idle.reserve(("tee", 1), ttl_seconds=60)
    await idle.advance(60_000)
    idle.shard.close()
    assert await idle.sweep() == 0
    await idle.keep()
    assert await idle.sweep() == 1


async def test_sweeping_goes_on_past_a_hold_that_is_nowhere(idle: Gateway) -> None:
    """A due hold that neither store knows is told, each turn counts it as nothing, and all others go back to stock."""
    await idle.put("tee", 10)
    await idle.put("mug", 10)
    lost = await idle.reserve(("tee", 1), ttl_seconds=60)
    others = [await idle.reserve((sku, 1), ttl_seconds=60) for sku in ("tee", "mug")]
    part = lost.reservation.id.random_part
    key = idle.shard.keys.reservation(part)
    packed = await idle.redis("GET", key)
    await idle.redis("DEL", key)
    await idle.advance(60_000)
    with capture_logs() as lines:
        assert await idle.sweep() == 2
        assert await idle.sweep() == 0
    assert [(line["event"], line["log_level"], line["reservations"]) for line in lines] == [
        ("hold_lost", "error", [part])
    ]
    assert {(await idle.read(one)).reservation.state for one in others} == {"expired"}
    await idle.redis("SET", key, packed)
    assert await idle.sweep() == 1
    assert (await idle.level("tee")).held == 0
    await idle.flush()
    assert await idle.violations() == []
