"""fulfil: the units of a confirmed reservation left the building."""

from __future__ import annotations

from gateway.domain.event import SHIPPED
from tests.lua.warehouse import START_MS, Warehouse, told, wish


async def test_fulfil_takes_units_out_of_on_hand_and_committed(warehouse: Warehouse) -> None:
    """FULFILLED: on_hand and committed fall together, available stays; one event."""
    await warehouse.stock("A", 5)
    await warehouse.stock("B", 5)
    r = await warehouse.sell(wish("A", 2), wish("B", 5))
    available = (await warehouse.level("A")).available
    await warehouse.advance(5)

    answer = await warehouse.run(warehouse.fulfil(r))

    after = told(answer)
    assert (answer.status, after.state, after.ended_ms) == ("FULFILLED", "fulfilled", START_MS + 5)
    assert after.confirmed_ms == START_MS
    assert [await warehouse.counters(sku) for sku in "AB"] == [(3, 0, 0), (0, 0, 0)]
    assert (await warehouse.level("A")).available == available
    assert (await warehouse.remember())[-1].type == SHIPPED


async def test_fulfil_after_on_hand_was_lowered_shows_the_debt(warehouse: Warehouse) -> None:
    """A source that counted fewer than are sold leaves on_hand below zero after the fulfilment: shown, never clamped."""
    await warehouse.stock("A", 5)
    r = await warehouse.sell(wish("A", 4))
    await warehouse.stock("A", 1)

    answer = await warehouse.run(warehouse.fulfil(r))

    level = await warehouse.level("A")
    assert (answer.status, level.on_hand, level.committed, level.available) == ("FULFILLED", -3, 0, -3)


async def test_fulfil_ignores_the_deadline_of_the_hold_it_was(warehouse: Warehouse) -> None:
    """A sale has no deadline: long after the hold's, it is fulfilled."""
    await warehouse.stock("A", 5)
    r = await warehouse.sell(wish("A", 4), ttl_ms=10)
    await warehouse.advance(10_000_000)

    assert (await warehouse.run(warehouse.fulfil(r))).status == "FULFILLED"
