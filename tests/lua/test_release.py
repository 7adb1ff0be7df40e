"""release: the units of a held or confirmed reservation come back."""

from __future__ import annotations

from gateway.domain.event import RELEASED
from tests.lua.warehouse import START_MS, Warehouse, told, wish


async def test_release_gives_held_units_back(warehouse: Warehouse) -> None:
    """RELEASED: held falls, the reason stands in the event, no index entry is left."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2))
    await warehouse.advance(7)

    answer = await warehouse.run(warehouse.release(r, reason="changed my mind"))

    event = (await warehouse.remember())[-1]
    assert (answer.status, told(answer).state, told(answer).ended_ms) == ("RELEASED", "released", START_MS + 7)
    assert (event.type, event.reason) == (RELEASED, "changed my mind")
    assert await warehouse.counters("A") == (5, 0, 0)
    assert await warehouse.content(warehouse.keys.due) == "none"


async def test_release_gives_sold_units_back(warehouse: Warehouse) -> None:
    """Of a confirmed one: committed falls, and the units are on sale again."""
    await warehouse.stock("A", 2)
    r = await warehouse.sell(wish("A", 2))

    answer = await warehouse.run(warehouse.release(r))

    assert told(answer).confirmed_ms == START_MS
    assert await warehouse.counters("A") == (2, 0, 0)
    await warehouse.hold(wish("A", 2))


async def test_release_twice_gives_back_once(warehouse: Warehouse) -> None:
    """A second release answers as the first and changes nothing, also with another reason."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2))
    await warehouse.hold(wish("A", 2))
    first = await warehouse.run(warehouse.release(r))
    before = await warehouse.snapshot()

    second = await warehouse.run(warehouse.release(r, reason="again"))

    assert (second.status, second.fields) == (first.status, first.fields)
    assert await warehouse.snapshot() == before


async def test_release_after_expiry_gives_back_once(warehouse: Warehouse) -> None:
    """A hold that expired and whose units were resold is RELEASED as it is: nothing comes back twice."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 5), ttl_ms=10)
    await warehouse.advance(10)
    await warehouse.hold(wish("A", 5))

    answer = await warehouse.run(warehouse.release(r))

    assert (answer.status, told(answer).state) == ("RELEASED", "expired")
    assert await warehouse.counters("A") == (5, 5, 0)


async def test_release_of_the_earliest_hold_moves_the_index_on(warehouse: Warehouse) -> None:
    """The sku's next deadline becomes that of the next hold, for each sku of the released one."""
    for sku in "AB":
        await warehouse.stock(sku, 5)
    first = await warehouse.hold(wish("A", 1), wish("B", 1), ttl_ms=1000)
    await warehouse.hold(wish("A", 1), ttl_ms=2000)

    await warehouse.run(warehouse.release(first))

    assert await warehouse.content(warehouse.keys.due) == {"main/A": START_MS + 2000}


async def test_release_of_a_later_hold_leaves_the_index(warehouse: Warehouse) -> None:
    """Releasing a hold that is not the earliest does not touch the next deadline."""
    await warehouse.stock("A", 5)
    await warehouse.hold(wish("A", 1), ttl_ms=1000)
    second = await warehouse.hold(wish("A", 1), ttl_ms=2000)

    await warehouse.run(warehouse.release(second))

    assert await warehouse.content(warehouse.keys.due) == {"main/A": START_MS + 1000}


async def test_release_of_two_holds_with_one_deadline(warehouse: Warehouse) -> None:
    """Two holds due at the same millisecond: releasing one leaves the other's entry."""
    await warehouse.stock("A", 5)
    holds = [await warehouse.hold(wish("A", 1), ttl_ms=1000) for _ in range(2)]

    await warehouse.run(warehouse.release(holds[0]))

    assert await warehouse.content(warehouse.keys.due) == {"main/A": START_MS + 1000}
