"""tick and lease: how far the shard's clock may go, what jumps of TIME come to, and until when the shard works."""

from __future__ import annotations

import pytest

from gateway.domain.reservation import HELD, parse_reservation
from tests.lua.warehouse import DAY_MS, Warehouse, wish

HOUR_MS = 3_600_000
LEAD_MS = 1000
SLOW_MS = 60_000  # a test that takes longer than this is not one of the clock


@pytest.fixture
async def ticking(warehouse: Warehouse) -> Warehouse:
    """A shard with one A, whose clock is the server's own: no test has moved it ahead."""
    await warehouse.stock("A", 1)
    await warehouse.call("HSET", warehouse.keys.meta, "clock", 5, "ask_until", 0)
    return warehouse


async def clock_of(warehouse: Warehouse) -> int:
    """What the shard's clock says."""
    return int((await warehouse.raw(warehouse.lease(0)))[2])


async def field_of(warehouse: Warehouse, name: str) -> str | None:
    """A field of meta."""
    value: str | None = await warehouse.call("HGET", warehouse.keys.meta, name)
    return value


async def set_horizon(warehouse: Warehouse, horizon_ms: int) -> None:
    """The last tick let the clock go so far; nothing was written since."""
    await warehouse.call("HSET", warehouse.keys.meta, "horizon", horizon_ms, "clock", 5)


async def test_tick_of_one_who_knows_nothing_bounds_the_clock_from_now(ticking: Warehouse) -> None:
    """With horizon 0 the clock may go on for the lead from what TIME says."""
    before_ms = await ticking.server_ms()

    reply = await ticking.raw(ticking.tick(0, LEAD_MS))

    time_ms, shift_ms = map(int, reply[4:])
    assert (reply[1], shift_ms) == ("TICKED", 0)
    assert before_ms <= time_ms <= await ticking.server_ms()
    assert await field_of(ticking, "horizon") == str(time_ms + LEAD_MS)


async def test_tick_clock_stands_at_its_horizon(ticking: Warehouse) -> None:
    """TIME far ahead of the horizon expires nothing and deadlines count from the horizon; the next tick lets the clock go on."""
    now_ms = await ticking.server_ms()
    await set_horizon(ticking, now_ms - HOUR_MS)  # as if TIME had jumped by an hour since
    held = await ticking.hold(wish("A", 1), ttl_ms=1000)

    swept = await ticking.raw(ticking.expire())
    refused = await ticking.raw(ticking.reserve(wish("A", 1)))
    await ticking.raw(ticking.tick(now_ms + SLOW_MS))
    let_go = await ticking.raw(ticking.expire())

    assert held.deadline_ms == now_ms - HOUR_MS + 1000
    assert (swept[2], swept[4]) == (str(now_ms - HOUR_MS), "0")
    assert refused[1] == "OUT_OF_STOCK"
    assert let_go[4] == "1"


async def test_tick_never_takes_the_horizon_back(ticking: Warehouse) -> None:
    """The gateway that is furthest decides: one whose clock stood still for a while does not stop the others."""
    far_ms = await ticking.server_ms() + SLOW_MS
    await ticking.raw(ticking.tick(far_ms))

    await ticking.raw(ticking.tick(far_ms - SLOW_MS))

    assert await field_of(ticking, "horizon") == str(far_ms)


@pytest.mark.parametrize("left_ms", [-1, HOUR_MS, 2 * DAY_MS])
async def test_tick_prolongs_asking_that_is_not_over(ticking: Warehouse, left_ms: int) -> None:
    """Told to ask on, unknown keys are asked for a whole retention from now at least; what is over is not begun again."""
    clock_ms = int((await ticking.raw(ticking.tick(0, LEAD_MS)))[2])
    await ticking.call("HSET", ticking.keys.meta, "ask_until", clock_ms + left_ms)

    await ticking.raw(ticking.tick(0, LEAD_MS))
    left_alone = await field_of(ticking, "ask_until")
    reply = await ticking.raw(ticking.tick(0, LEAD_MS, asks_on=True))

    assert left_alone == str(clock_ms + left_ms)
    wanted_ms = {-1: clock_ms - 1, HOUR_MS: int(reply[2]) + DAY_MS, 2 * DAY_MS: clock_ms + 2 * DAY_MS}[left_ms]
    assert await field_of(ticking, "ask_until") == str(wanted_ms)


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
async def test_tick_shift_makes_up_for_a_jump(ticking: Warehouse, jump_ms: int) -> None:
    """With a shift the clock is TIME and the shift, for every script, and the tick tells both."""
    await set_horizon(ticking, await ticking.server_ms() + 2 * HOUR_MS)
    before_ms = await ticking.server_ms()

    reply = await ticking.raw(ticking.tick(0, LEAD_MS, shift_ms=-jump_ms))

    time_ms, shift_ms = map(int, reply[4:])
    after_ms = await ticking.server_ms()
    assert shift_ms == -jump_ms
    assert before_ms - jump_ms <= time_ms <= after_ms - jump_ms
    assert before_ms - jump_ms <= await clock_of(ticking) <= await ticking.server_ms() - jump_ms


async def test_tick_shift_is_changed_by_who_has_seen_it(ticking: Warehouse) -> None:
    """Of two gateways that see the same jump one makes up for it; the other is told the shift in force and changes nothing."""
    await ticking.raw(ticking.tick(0, LEAD_MS, shift_ms=-HOUR_MS))

    second = await ticking.raw(ticking.tick(0, LEAD_MS, seen_shift_ms=0, shift_ms=-HOUR_MS - 7))
    third = await ticking.raw(ticking.tick(0, LEAD_MS, seen_shift_ms=-HOUR_MS, shift_ms=0))

    assert second[5] == str(-HOUR_MS)
    assert third[5] == "0"
    assert str(await field_of(ticking, "horizon")).isdecimal()


async def test_tick_keeps_holds_through_a_jump(ticking: Warehouse) -> None:
    """A hold made before TIME jumped by an hour is alive after it, and due when its own time is over."""
    await ticking.raw(ticking.tick())
    held = await ticking.hold(wish("A", 1), ttl_ms=SLOW_MS)
    # TIME itself can not be moved here; an earlier shift that is taken away is the same jump.
    base_ms = await ticking.server_ms()

    await ticking.call("HSET", ticking.keys.meta, "horizon", f"{base_ms + LEAD_MS} {HOUR_MS}")  # TIME is an hour ahead
    swept = await ticking.raw(ticking.expire())
    found = await ticking.raw(ticking.read_reservation(held.id))
    await ticking.raw(ticking.tick(base_ms + LEAD_MS, LEAD_MS, seen_shift_ms=HOUR_MS, shift_ms=0))

    assert swept[4] == "0"
    assert found[1] == "FOUND"
    assert parse_reservation(0, found[4], found[5]).state == HELD
    assert base_ms <= await clock_of(ticking) <= base_ms + SLOW_MS


@pytest.mark.parametrize(
    ("seen_shift_ms", "shift_ms", "is_asked"),
    [
        (0, -HOUR_MS, True),  # TIME is an hour ahead
        (HOUR_MS, 0, True),  # TIME was an hour behind, and is right again: what was kept meanwhile ends too early
        (-HOUR_MS + 2000, -HOUR_MS, True),  # a little more of it: small jumps add up
        (0, -30_000, False),  # less than records live longer than was promised
        (-HOUR_MS, -HOUR_MS + 3, False),  # the shift wears off
        (-HOUR_MS, -HOUR_MS, False),
    ],
)
async def test_tick_asks_for_unknown_records_after_a_jump(
    ticking: Warehouse, seen_shift_ms: int, shift_ms: int, is_asked: bool
) -> None:
    """Records live by TIME, so after a jump one may be gone before its time: for a retention the durable store is asked."""
    base_ms = await ticking.server_ms()
    await ticking.call("HSET", ticking.keys.meta, "horizon", f"{base_ms + 2 * HOUR_MS} {seen_shift_ms}")

    reply = await ticking.raw(ticking.tick(base_ms + 2 * HOUR_MS, seen_shift_ms=seen_shift_ms, shift_ms=shift_ms))
    ask_until_ms = int(str(await field_of(ticking, "ask_until")))
    reserved = await ticking.raw(ticking.reserve(wish("A", 1), key="k"))
    asked = await ticking.raw(ticking.reserve(wish("A", 1), key="k", has_asked=True))

    assert ask_until_ms == (int(reply[2]) + DAY_MS if is_asked else 0)
    assert reserved[1] == ("NOT_LOADED" if is_asked else "RESERVED")
    assert asked[1] == ("RESERVED" if is_asked else "REPLAYED")


@pytest.mark.parametrize(("away_ms", "is_asked"), [(HOUR_MS, True), (SLOW_MS, False)])
async def test_tick_of_one_who_knows_nothing_asks_for_what_time_has_ended_unseen(
    ticking: Warehouse, away_ms: int, is_asked: bool
) -> None:
    """No gateway saw the last hour pass: it may have been a jump. After a minute, as a restart takes, nothing is asked."""
    await ticking.call("HSET", ticking.keys.meta, "clock", await ticking.server_ms() - away_ms)

    await ticking.raw(ticking.tick())
    reserved = await ticking.raw(ticking.reserve(wish("A", 1), key="k"))

    assert reserved[1] == ("NOT_LOADED" if is_asked else "RESERVED")


async def test_tick_that_has_not_come_yet_leaves_unknown_records_asked_for(ticking: Warehouse) -> None:
    """While the clock stands at its horizon TIME may have jumped, and nobody has told yet; nothing is asked that is there."""
    await ticking.hold(wish("A", 1), key="k1")
    await set_horizon(ticking, await ticking.server_ms() - 5)

    known = await ticking.raw(ticking.reserve(wish("A", 1), key="k1"))
    unknown = await ticking.raw(ticking.adjust("A", 1, key="k2"))

    assert known[1] == "REPLAYED"
    assert (unknown[1], unknown[4:]) == ("NOT_LOADED", ["q:k2"])


async def test_lease_ends_by_the_servers_time(ticking: Warehouse) -> None:
    """It ends as many ms after TIME as was asked for; 0 takes the end away."""
    before_ms = await ticking.server_ms()

    reply = await ticking.raw(ticking.lease(SLOW_MS))
    ends_ms = int(str(await field_of(ticking, "lease")))
    after_ms = await ticking.server_ms()
    await ticking.raw(ticking.lease(0))

    assert reply[1] == "LEASED"
    assert before_ms + SLOW_MS <= ends_ms <= after_ms + SLOW_MS
    assert await field_of(ticking, "lease") is None


async def test_lease_runs_by_time_also_where_the_clock_stands(ticking: Warehouse) -> None:
    """A Redis nobody ticks for stops working: the clock stands at its horizon, and the lease ends all the same."""
    now_ms = await ticking.server_ms()
    await set_horizon(ticking, now_ms - SLOW_MS)
    await ticking.call("HSET", ticking.keys.meta, "lease", now_ms - 1)

    reply = await ticking.raw(ticking.expire())

    assert (reply[1], reply[2]) == ("LAPSED", str(now_ms - SLOW_MS))
