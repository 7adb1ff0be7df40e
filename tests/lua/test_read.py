"""read_sku and read_reservation: what there is now, in the order of writes."""

from __future__ import annotations

from gateway.hot.operations import parse_sku
from tests.lua.warehouse import START_MS, Warehouse, told, wish


async def test_read_sku_tells_all_levels_in_order_asked(warehouse: Warehouse) -> None:
    """SKUS: one text per name in the order asked, also twice, levels by name, sources in the order they came."""
    await warehouse.stock("A", 5, "b")
    await warehouse.stock("A", 6, "a")
    await warehouse.run(warehouse.put("A", "a", deduction=1, source="wms"))
    await warehouse.stock("B", 7)

    answer = await warehouse.run(warehouse.read_sku("B", "A", "B"))

    skus = [parse_sku(text) for text in answer.fields]
    assert answer.status == "SKUS"
    assert [sku.sku for sku in skus] == ["B", "A", "B"]
    assert [(level.location, level.on_hand) for level in skus[1].levels.values()] == [("a", 6), ("b", 5)]
    assert list(skus[1].levels["a"].sources) == ["erp", "wms"]
    assert skus[1].total("available") == 10


async def test_read_sku_without_levels_is_empty(warehouse: Warehouse) -> None:
    """A sku that is known to have no level is told without one."""
    await warehouse.create("A")

    assert (await warehouse.sku("A")).levels == {}


async def test_read_sku_shows_due_units_as_free(warehouse: Warehouse) -> None:
    """Reading takes back what is due of the sku, and writes nothing when nothing is."""
    await warehouse.stock("A", 5)
    await warehouse.hold(wish("A", 2), ttl_ms=100)

    before = await warehouse.snapshot()
    live = await warehouse.counters("A")
    unchanged = await warehouse.snapshot() == before
    await warehouse.advance(100)
    due = await warehouse.counters("A")

    assert (live, unchanged, due) == ((5, 2, 0), True, (5, 0, 0))


async def test_read_reservation_reads_expired_at_the_deadline(warehouse: Warehouse) -> None:
    """FOUND: held until the last millisecond before its deadline, expired at it, with the deadline as its end."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2), ttl_ms=100)

    await warehouse.advance(99)
    live = await warehouse.run(warehouse.read_reservation(r.id))
    await warehouse.advance(401)
    late = await warehouse.run(warehouse.read_reservation(r.id))

    assert (live.status, told(live)) == ("FOUND", r)
    assert (told(late).state, told(late).ended_ms) == ("expired", START_MS + 100)
    assert await warehouse.counters("A") == (5, 0, 0)


async def test_read_reservation_of_an_ended_one_needs_no_sku(warehouse: Warehouse) -> None:
    """An ended reservation is read although its sku went cold."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 2))
    await warehouse.run(warehouse.release(r))
    cold = await warehouse.call("HGETALL", warehouse.keys.sku("main", "A"))
    await warehouse.call("DEL", warehouse.keys.sku("main", "A"))

    answer = await warehouse.run(warehouse.read_reservation(r.id))

    assert told(answer).state == "released"
    await warehouse.call("HSET", warehouse.keys.sku("main", "A"), *cold)
