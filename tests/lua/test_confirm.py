"""confirm: a hold becomes a sale; an expired one only when asked to, and if its units are free."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.event import CONFIRMED, SHIPPED
from gateway.domain.reservation import Reservation
from gateway.hot.operations import parse_shortages
from tests.lua.warehouse import DAY_MS, POLICY, START_MS, Warehouse, told, wish


async def lost_hold(warehouse: Warehouse, *, swept: bool, quantity: int = 3, key: str = "") -> Reservation:
    """A hold of A past its deadline, taken back by a sweep or not yet."""
    r = await warehouse.hold(wish("A", quantity), ttl_ms=1000, key=key)
    await warehouse.advance(1000)
    if swept:
        assert (await warehouse.run(warehouse.expire())).fields[0] == "1"
    return r


async def test_confirm_moves_units_from_held_to_committed(warehouse: Warehouse) -> None:
    """CONFIRMED: held falls, committed rises, on_hand and available stay; the deadline no longer counts."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), ttl_ms=1000)
    await warehouse.advance(999)

    answer = await warehouse.run(warehouse.confirm(r))
    await warehouse.advance(10_000)
    swept = await warehouse.run(warehouse.expire())

    after = told(answer)
    assert (answer.status, answer.fields[2]) == ("CONFIRMED", "0")
    assert (after.state, after.confirmed_ms, after.ended_ms) == ("confirmed", START_MS + 999, None)
    assert swept.fields == ["0", "0", "0"]
    assert await warehouse.counters("A") == (5, 0, 2)
    assert (await warehouse.remember())[-1].type == CONFIRMED


async def test_confirm_and_fulfil_are_two_events_of_one_entry(warehouse: Warehouse) -> None:
    """With fulfil the units leave in the same step: confirmed, then shipped."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2))

    after = told(await warehouse.run(warehouse.confirm(r, fulfil=True)))

    assert [event.type for event in (await warehouse.remember())[-2:]] == [CONFIRMED, SHIPPED]
    assert (after.state, after.confirmed_ms, after.ended_ms) == ("fulfilled", START_MS, START_MS)
    assert await warehouse.counters("A") == (3, 0, 0)


@pytest.mark.parametrize("swept", [True, False])
async def test_confirm_reacquire_takes_the_same_lines_again(warehouse: Warehouse, swept: bool) -> None:
    """A hold past its deadline, swept or not, becomes a sale when its units are free: an event of its own, with the reason."""
    await warehouse.stock("A", 5)
    r = await lost_hold(warehouse, swept=swept)
    await warehouse.advance(500)

    answer = await warehouse.run(warehouse.confirm(r, reacquire=True))

    after = told(answer)
    event = (await warehouse.remember())[-1]
    assert (answer.status, answer.fields[2]) == ("CONFIRMED", "1")
    assert (after.state, after.confirmed_ms, after.ended_ms) == ("confirmed", START_MS + 1500, None)
    assert (event.type, event.reason) == (CONFIRMED, "reacquired")
    assert await warehouse.counters("A") == (5, 0, 3)


@pytest.mark.parametrize("swept", [True, False])
async def test_confirm_reacquire_of_resold_units_is_out_of_stock(warehouse: Warehouse, swept: bool) -> None:
    """Units that another holds now are not taken twice; the shortage tells how many there are and until when."""
    await warehouse.stock("A", 5)
    r = await lost_hold(warehouse, swept=swept)
    await warehouse.hold(wish("A", 4), ttl_ms=7000)

    answer = await warehouse.run(warehouse.confirm(r, reacquire=True))

    (shortage,) = parse_shortages(answer.fields[0])
    assert answer.status == "OUT_OF_STOCK"
    assert (shortage.sku, shortage.location, shortage.requested, shortage.available) == ("A", "main", 3, 1)
    assert (shortage.reason, shortage.next_release_ms) == ("held", START_MS + 8000)
    assert await warehouse.counters("A") == (5, 4, 0)


@pytest.mark.parametrize("swept", [True, False])
async def test_confirm_reacquire_of_a_paused_sku_is_refused(warehouse: Warehouse, swept: bool) -> None:
    """A paused sku takes no reservation, a reacquired one neither."""
    await warehouse.stock("A", 5)
    r = await lost_hold(warehouse, swept=swept)
    await warehouse.run(warehouse.pause("A"))

    answer = await warehouse.run(warehouse.confirm(r, reacquire=True))

    assert answer.status == "OUT_OF_STOCK"
    assert parse_shortages(answer.fields[0])[0].reason == "paused"


async def test_confirm_of_a_paused_sku_goes_through(warehouse: Warehouse) -> None:
    """Open holds live on through a pause."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2))
    await warehouse.run(warehouse.pause("A"))

    assert (await warehouse.run(warehouse.confirm(r))).status == "CONFIRMED"


@pytest.mark.parametrize("swept", [True, False])
async def test_confirm_reacquire_is_all_lines_or_none(warehouse: Warehouse, swept: bool) -> None:
    """One line that is not free again refuses all, each short line told."""
    await warehouse.stock("A", 5)
    await warehouse.stock("B", 2)
    r = await warehouse.hold(wish("A", 2), wish("B", 2), ttl_ms=1000)
    await warehouse.advance(1000)
    if swept:
        await warehouse.run(warehouse.expire())
    await warehouse.hold(wish("B", 1))

    refused = await warehouse.run(warehouse.confirm(r, reacquire=True))
    counters = [await warehouse.counters(sku) for sku in "AB"]
    await warehouse.stock("B", 3)
    taken = await warehouse.run(warehouse.confirm(r, reacquire=True))

    assert [s.sku for s in parse_shortages(refused.fields[0])] == ["B"]
    assert counters == [(5, 0, 0), (2, 1, 0)]
    assert taken.status == "CONFIRMED"


@pytest.mark.parametrize("swept", [True, False])
async def test_confirm_reacquire_keeps_the_locations(warehouse: Warehouse, swept: bool) -> None:
    """The same lines again: units at another location do not help."""
    await warehouse.stock("A", 3, "a")
    await warehouse.stock("A", 9, "b")
    r = await warehouse.hold(wish("A", 3, "a"), ttl_ms=1000)
    await warehouse.advance(1000)
    if swept:
        await warehouse.run(warehouse.expire())
    await warehouse.hold(wish("A", 1, "a"))

    assert (await warehouse.run(warehouse.confirm(r, reacquire=True))).status == "OUT_OF_STOCK"


@pytest.mark.parametrize(("late_ms", "status"), [(DAY_MS, "CONFIRMED"), (DAY_MS + 1, "STATE")])
async def test_confirm_reacquire_within_the_retention(warehouse: Warehouse, late_ms: int, status: str) -> None:
    """Up to `retention.seconds` after the deadline, to the millisecond; later the hold stays expired."""
    await warehouse.stock("A", 5)
    r = await lost_hold(warehouse, swept=False)
    await warehouse.advance(late_ms)

    answer = await warehouse.run(warehouse.confirm(r, reacquire=True))

    assert answer.status == status


async def test_confirm_reacquire_at_the_callers_policy(warehouse: Warehouse) -> None:
    """The retention is the one in force now, sent with the call."""
    await warehouse.stock("A", 5)
    r = await lost_hold(warehouse, swept=False)
    await warehouse.advance(5000)

    answer = await warehouse.run(warehouse.confirm(r, reacquire=True, policy=replace(POLICY, retention_seconds=4)))

    assert (answer.status, told(answer).state) == ("STATE", "expired")


@pytest.mark.parametrize("swept", [True, False])
async def test_confirm_reacquire_frees_what_is_due_of_its_sku_first(warehouse: Warehouse, swept: bool) -> None:
    """Another hold of the sku whose deadline has passed too gives its units to the reacquire."""
    await warehouse.stock("A", 3)
    r = await lost_hold(warehouse, swept=swept)
    other = await warehouse.hold(wish("A", 3), ttl_ms=1000)
    await warehouse.advance(1000)

    answer = await warehouse.run(warehouse.confirm(r, reacquire=True))

    gone = told(await warehouse.run(warehouse.read_reservation(other.id)))
    assert (answer.status, gone.state) == ("CONFIRMED", "expired")
    assert await warehouse.counters("A") == (3, 0, 3)


@pytest.mark.parametrize("swept", [True, False])
async def test_confirm_reacquire_needs_room_as_new_work(warehouse: Warehouse, swept: bool) -> None:
    """A reacquire is a new hold to the backlog: it does not live on the spare that confirm has."""
    await warehouse.stock("A", 5)
    r = await lost_hold(warehouse, swept=swept)
    live = await warehouse.hold(wish("A", 1))
    unflushed = (await warehouse.remember())[-1].seq

    refused = await warehouse.raw(warehouse.confirm(r, reacquire=True), backlog_max=unflushed)
    plain = await warehouse.raw(warehouse.confirm(live), backlog_max=unflushed)

    assert (refused[1], plain[1]) == ("BACKLOG", "CONFIRMED")


@pytest.mark.parametrize("swept", [True, False])
async def test_confirm_reacquire_and_fulfil_at_once(warehouse: Warehouse, swept: bool) -> None:
    """Both wishes of one call: the units are taken again and leave."""
    await warehouse.stock("A", 5)
    r = await lost_hold(warehouse, swept=swept)

    answer = await warehouse.run(warehouse.confirm(r, reacquire=True, fulfil=True))

    assert (told(answer).state, answer.fields[2]) == ("fulfilled", "1")
    assert await warehouse.counters("A") == (2, 0, 0)


async def test_confirm_reacquire_keeps_the_request_record_alive(warehouse: Warehouse) -> None:
    """A record that was given an end when its hold expired has none any more while the reservation is confirmed.

    Else a retry of the reserve, a retention after the expiry, would hold a second time beside the open sale.
    """
    await warehouse.stock("A", 5)
    r = await lost_hold(warehouse, swept=True, key="k1")
    await warehouse.settle(f"r:{r.id.random_part}")
    ended = int(await warehouse.call("PTTL", warehouse.keys.request("k1")))

    await warehouse.run(warehouse.confirm(r, reacquire=True))

    assert 0 < ended <= DAY_MS
    assert int(await warehouse.call("PTTL", warehouse.keys.request("k1"))) == -1


async def test_confirm_of_an_evicted_reservation_that_was_loaded_again(warehouse: Warehouse) -> None:
    """An expired reservation brought back with a life of its own is complete enough to reacquire, and lives on without one."""
    await warehouse.stock("A", 5)
    r = await lost_hold(warehouse, swept=True)
    key = warehouse.keys.reservation(r.id.random_part)
    packed = await warehouse.call("GET", key)
    await warehouse.settle()
    await warehouse.call("DEL", key)
    assert await warehouse.install(f"r:{r.id.random_part}", [packed], ttl_ms=60_000) == "LOADED"

    answer = await warehouse.run(warehouse.confirm(r, reacquire=True))

    assert answer.status == "CONFIRMED"
    assert int(await warehouse.call("PTTL", key)) == -1
