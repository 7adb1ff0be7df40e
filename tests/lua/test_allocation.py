"""Which levels a line is taken from, how it is split, and what a shortage tells."""

from __future__ import annotations

import pytest

from gateway.domain.answer import Shortage
from gateway.hot.operations import parse_shortages
from tests.lua.warehouse import START_MS, Warehouse, told, wish


async def shelves(warehouse: Warehouse, **units: int) -> None:
    """Sku A with these units per location."""
    for location, on_hand in units.items():
        await warehouse.stock("A", on_hand, location)


async def lines(warehouse: Warehouse, *wishes, **how) -> list[tuple[str, int]]:  # type: ignore[no-untyped-def]
    """(location, quantity) of what was held; all wishes are for A."""
    return [(line.location, line.quantity) for line in (await warehouse.hold(*wishes, **how)).lines]


async def short(warehouse: Warehouse, *wishes, **how) -> list[Shortage]:  # type: ignore[no-untyped-def]
    """The shortages of a refusal."""
    answer = await warehouse.run(warehouse.reserve(*wishes, **how))
    assert answer.status == "OUT_OF_STOCK"
    return parse_shortages(answer.fields[0])


@pytest.mark.parametrize(
    ("quantity", "how", "expected"),
    [
        (5, {}, [("b", 5)]),  # the first by name that covers the whole line
        (3, {}, [("a", 3)]),
        (9, {}, [("a", 4), ("b", 5)]),  # none covers it: split in that order
        (18, {}, [("a", 4), ("b", 8), ("c", 6)]),
        (5, {"priority": "c"}, [("c", 5)]),
        (7, {"priority": "c"}, [("b", 7)]),  # the first that covers, the priority first
        (15, {"priority": "c,b"}, [("c", 6), ("b", 8), ("a", 1)]),
        (15, {"priority": "nowhere,c,c"}, [("c", 6), ("a", 4), ("b", 5)]),
        (5, {"locations": ["c", "a"]}, [("c", 5)]),
        (9, {"locations": ["c", "a"]}, [("c", 6), ("a", 3)]),
        (2, {"locations": ["a"], "priority": "b"}, [("a", 2)]),  # only these: the priority does not count
    ],
)
async def test_allocation_without_location(
    warehouse: Warehouse, quantity: int, how: dict[str, object], expected: list[tuple[str, int]]
) -> None:
    """The request's locations, else the priority and then all by name; whole from one, else split in that order."""
    await shelves(warehouse, c=6, a=4, b=8)

    assert await lines(warehouse, wish("A", quantity), **how) == expected


async def test_allocation_own_location_only(warehouse: Warehouse) -> None:
    """A line's own location is the only one looked at, whatever the request prefers."""
    await shelves(warehouse, a=4, b=8)

    held = await lines(warehouse, wish("A", 4, "a"), locations=["b"])
    refused = await short(warehouse, wish("A", 1, "a"))

    assert held == [("a", 4)]
    assert (refused[0].location, refused[0].available) == ("a", 0)


async def test_allocation_location_without_level_is_short_by_all(warehouse: Warehouse) -> None:
    """A line's own location where the sku has no level: available 0, sold out."""
    await shelves(warehouse, a=4)

    refused = await short(warehouse, wish("A", 1, "z"))

    assert refused == [Shortage("A", "z", 1, 0, "sold_out", None)]


async def test_allocation_listed_locations_without_level(warehouse: Warehouse) -> None:
    """Only locations where the sku has no level: refused with location null and nothing available."""
    await shelves(warehouse, a=4)

    assert await short(warehouse, wish("A", 1), locations=["y", "z"]) == [Shortage("A", None, 1, 0, "sold_out", None)]


async def test_allocation_explicit_lines_come_before_unlocated(warehouse: Warehouse) -> None:
    """A line that names its location is served first, wherever it stands; the other takes what is left elsewhere."""
    await shelves(warehouse, a=4, b=3)

    held = await lines(warehouse, wish("A", 3), wish("A", 4, "a"))

    assert held == [("b", 3), ("a", 4)]


async def test_allocation_same_level_by_two_lines_is_one_line(warehouse: Warehouse) -> None:
    """Units of one level stand in one line, at its first place."""
    await shelves(warehouse, a=10)
    await warehouse.stock("B", 5)

    held = await warehouse.hold(wish("A", 2), wish("B", 1), wish("A", 3, "a"))

    assert [(line.sku, line.quantity) for line in held.lines] == [("A", 5), ("B", 1)]


async def test_allocation_total_over_the_locations_considered(warehouse: Warehouse) -> None:
    """A shortage without location tells the total over the locations considered, and only those."""
    await shelves(warehouse, a=4, b=8, c=1)

    everywhere = await short(warehouse, wish("A", 20))
    some = await short(warehouse, wish("A", 20), locations=["a", "c"])

    assert [(s.location, s.available) for s in everywhere + some] == [(None, 13), (None, 5)]


async def test_allocation_partial_splits_and_tells(warehouse: Warehouse) -> None:
    """With allow_partial a line takes every unit of the locations considered, and is told short by the rest."""
    await shelves(warehouse, a=4, b=2)

    answer = await warehouse.run(warehouse.reserve(wish("A", 9), partial=True, priority="b"))

    assert [(line.location, line.quantity) for line in told(answer).lines] == [("b", 2), ("a", 4)]
    assert [(s.requested, s.available) for s in parse_shortages(answer.fields[2])] == [(9, 6)]


async def test_allocation_refusal_leaves_nothing_taken_for_the_next_operation(warehouse: Warehouse) -> None:
    """What a refused operation of a batch had set aside is free for the next one."""
    await shelves(warehouse, a=4, b=2)
    await warehouse.stock("B", 0)

    first, second = await warehouse.batch(
        warehouse.reserve(wish("A", 6), wish("B", 1)), warehouse.reserve(wish("A", 6))
    )

    assert (first[0], second[0]) == ("OUT_OF_STOCK", "RESERVED")


async def test_allocation_locations_are_in_order_of_their_characters(warehouse: Warehouse) -> None:
    """ "By name" is the same on every server, whatever its locale: digits, capitals, small letters."""
    await shelves(warehouse, **{"b": 1, "B": 1, "a": 1, "Z": 1, "1": 1, "a-b": 1, "a.c": 1})

    held = await lines(warehouse, wish("A", 7))

    assert [location for location, _ in held] == ["1", "B", "Z", "a", "a-b", "a.c", "b"]


# Reasons


async def test_shortage_held_tells_when_the_next_hold_falls_due(warehouse: Warehouse) -> None:
    """`held` when open holds would free enough, with the earliest deadline among them."""
    await shelves(warehouse, a=10)
    await warehouse.hold(wish("A", 4), ttl_ms=9000)
    await warehouse.hold(wish("A", 5), ttl_ms=5000)

    assert await short(warehouse, wish("A", 2)) == [Shortage("A", None, 2, 1, "held", START_MS + 5000)]


async def test_shortage_beyond_all_holds_is_sold_out(warehouse: Warehouse) -> None:
    """More than all holds would free is sold out, without a moment to wait for."""
    await shelves(warehouse, a=10)
    await warehouse.hold(wish("A", 4))

    assert await short(warehouse, wish("A", 11)) == [Shortage("A", None, 11, 6, "sold_out", None)]


async def test_shortage_sold_units_are_no_holds(warehouse: Warehouse) -> None:
    """Confirmed units do not come back by waiting."""
    await shelves(warehouse, a=10)
    await warehouse.sell(wish("A", 10))

    assert await short(warehouse, wish("A", 1)) == [Shortage("A", None, 1, 0, "sold_out", None)]


async def test_shortage_reserved_for_safety(warehouse: Warehouse) -> None:
    """Units that only the safety stock keeps back are told so; a held one comes first when it would do."""
    await warehouse.stock("A", 10, safety_stock=4)

    safety = await short(warehouse, wish("A", 8))
    await warehouse.hold(wish("A", 6))
    held = await short(warehouse, wish("A", 6))
    both = await short(warehouse, wish("A", 10))

    assert [(s.available, s.reason) for s in safety + held + both] == [
        (6, "reserved_for_safety"),
        (0, "held"),
        (0, "reserved_for_safety"),
    ]


async def test_shortage_negative_available_is_shown(warehouse: Warehouse) -> None:
    """A level that owes units is told as it is, never clamped."""
    await shelves(warehouse, a=10)
    await warehouse.sell(wish("A", 10))
    await warehouse.stock("A", 3, "a")

    assert await short(warehouse, wish("A", 1)) == [Shortage("A", None, 1, -7, "sold_out", None)]


async def test_shortage_next_release_only_of_the_locations_considered(warehouse: Warehouse) -> None:
    """A hold elsewhere that falls due sooner does not count."""
    await shelves(warehouse, a=5, b=5)
    await warehouse.hold(wish("A", 5, "b"), ttl_ms=1000)
    await warehouse.hold(wish("A", 5, "a"), ttl_ms=8000)

    at_a = await short(warehouse, wish("A", 1, "a"))
    anywhere = await short(warehouse, wish("A", 1))

    assert [s.next_release_ms for s in at_a + anywhere] == [START_MS + 8000, START_MS + 1000]


async def test_shortage_next_release_is_never_in_the_past(warehouse: Warehouse) -> None:
    """Holds that this very call takes back are not what a buyer should wait for."""
    await shelves(warehouse, a=8)
    await warehouse.hold(wish("A", 3), ttl_ms=1000)
    await warehouse.hold(wish("A", 5), ttl_ms=9000)
    await warehouse.advance(1000)

    assert await short(warehouse, wish("A", 6)) == [Shortage("A", None, 6, 3, "held", START_MS + 9000)]


async def test_shortage_next_release_is_never_in_the_past_over_locations(warehouse: Warehouse) -> None:
    """The same with several locations."""
    await shelves(warehouse, a=8, b=0)
    await warehouse.hold(wish("A", 3), ttl_ms=1000)
    await warehouse.hold(wish("A", 5), ttl_ms=9000)
    await warehouse.advance(1000)

    assert await short(warehouse, wish("A", 6)) == [Shortage("A", None, 6, 3, "held", START_MS + 9000)]


async def test_shortage_in_a_batch_knows_the_earlier_operations(warehouse: Warehouse) -> None:
    """A hold made by an earlier operation of the batch is what the next one would wait for; one released is not."""
    await shelves(warehouse, a=8)
    old = await warehouse.hold(wish("A", 1), ttl_ms=1000)

    _, _, refused = await warehouse.batch(
        warehouse.release(old), warehouse.reserve(wish("A", 8), ttl_ms=7000), warehouse.reserve(wish("A", 1))
    )

    assert refused[0] == "OUT_OF_STOCK"
    assert parse_shortages(refused[1]) == [Shortage("A", None, 1, 0, "held", START_MS + 7000)]


async def test_shortage_held_only_when_the_holds_would_really_free_enough(warehouse: Warehouse) -> None:
    """A hold at a location that owes units frees none of them: waiting does not help, so it is sold out."""
    await shelves(warehouse, a=10, b=0)
    await warehouse.sell(wish("A", 5, "a"))
    await warehouse.hold(wish("A", 5, "a"))
    await warehouse.stock("A", 0, "a")

    assert await short(warehouse, wish("A", 5)) == [Shortage("A", None, 5, 0, "sold_out", None)]


# Safety stock


async def test_safety_stock_positive_is_kept_back(warehouse: Warehouse) -> None:
    """Ten on hand with a safety stock of 4 sell six."""
    await warehouse.stock("A", 10, safety_stock=4)

    await warehouse.hold(wish("A", 6))

    assert (await warehouse.level("A")).available == 0
    assert len(await short(warehouse, wish("A", 1))) == 1


async def test_safety_stock_negative_allows_backorder(warehouse: Warehouse) -> None:
    """With -5 five units more than there are can be held and sold; fulfilling them shows a negative on_hand."""
    await warehouse.stock("A", 2, safety_stock=-5)

    r = await warehouse.hold(wish("A", 7))
    refused = await short(warehouse, wish("A", 1))
    await warehouse.run(warehouse.confirm(r, fulfil=True))

    assert refused[0].available == 0
    level = await warehouse.level("A")
    assert (level.on_hand, level.committed, level.available) == (-5, 0, 0)


async def test_deductions_of_sources_lower_what_is_available(warehouse: Warehouse) -> None:
    """The sum of all sources' deductions is subtracted, each source replacing its own."""
    await warehouse.stock("A", 10)
    await warehouse.run(warehouse.put("A", deduction=3, source="wms"))
    await warehouse.run(warehouse.put("A", deduction=2, source="pos"))
    await warehouse.run(warehouse.put("A", deduction=1, source="wms"))

    level = await warehouse.level("A")

    assert (level.deducted, level.available) == (3, 7)
    assert {name: entry.deduction for name, entry in level.sources.items()} == {"erp": 0, "wms": 1, "pos": 2}
