"""Refusals in one call: the second wish for the same is told what the first was, and one for anything else is not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gateway.domain.answer import Shortage
from gateway.domain.command import Wish
from gateway.domain.reservation import parse_reservation
from gateway.hot.operations import parse_shortages
from tests.lua.warehouse import START_MS, Call, Warehouse, told, wish


def refused(result: list[str]) -> list[Shortage]:
    """The shortages of a refusal, by any other status an error."""
    assert result[0] == "OUT_OF_STOCK", result
    return parse_shortages(result[1])


async def test_refusals_of_the_same_wish_are_equal(warehouse: Warehouse) -> None:
    """Who asks for the same at the same moment is told the same."""
    await warehouse.stock("A", 1)
    await warehouse.hold(wish("A", 1), ttl_ms=5000)

    results = await warehouse.batch(*[warehouse.reserve(wish("A", 1)) for _ in range(5)])

    assert [refused(result) for result in results] == [[Shortage("A", None, 1, 0, "held", START_MS + 5000)]] * 5


@pytest.mark.parametrize(
    ("asked", "how", "short"),
    [
        (wish("A", 4), {}, Shortage("A", None, 4, 1, "sold_out", None)),
        (wish("A", 3, "a"), {}, Shortage("A", "a", 3, 0, "sold_out", None)),
        (wish("A", 3), {"locations": ["a"]}, Shortage("A", None, 3, 0, "sold_out", None)),
        (wish("A", 3), {"priority": "b"}, Shortage("A", None, 3, 1, "held", START_MS + 5000)),
    ],
)
async def test_refusals_of_another_wish_are_its_own(
    warehouse: Warehouse, asked: Wish, how: dict[str, Any], short: Shortage
) -> None:
    """Another quantity, location or choice of locations is judged by itself."""
    await warehouse.stock("A", 0, "a")
    await warehouse.stock("A", 3, "b")
    await warehouse.hold(wish("A", 2), ttl_ms=5000)

    first, second = await warehouse.batch(warehouse.reserve(wish("A", 3)), warehouse.reserve(asked, **how))

    assert refused(first) == [Shortage("A", None, 3, 1, "held", START_MS + 5000)]
    assert refused(second) == [short]


async def test_refusals_are_not_those_of_a_partial_hold(warehouse: Warehouse) -> None:
    """Who takes what there is gets it, right behind one who did not."""
    await warehouse.stock("A", 1)

    first, second = await warehouse.batch(
        warehouse.reserve(wish("A", 3)), warehouse.reserve(wish("A", 3), partial=True)
    )

    assert refused(first) == [Shortage("A", None, 3, 1, "sold_out", None)]
    assert second[0] == "RESERVED"


async def test_refusals_of_several_wishes_tell_each(warehouse: Warehouse) -> None:
    """Who wants the same and something else is told of both."""
    await warehouse.stock("A", 0)
    await warehouse.stock("B", 0)

    first, second = await warehouse.batch(
        warehouse.reserve(wish("A", 1)), warehouse.reserve(wish("A", 1), wish("B", 2))
    )

    assert refused(first) == [Shortage("A", None, 1, 0, "sold_out", None)]
    assert refused(second) == [*refused(first), Shortage("B", None, 2, 0, "sold_out", None)]


async def test_refusals_behind_many_holds_elsewhere_tell_the_earliest_here(warehouse: Warehouse) -> None:
    """Also when a later one of this location was made in the same call."""
    await warehouse.stock("A", 2, "a")
    await warehouse.stock("A", 20, "b")
    for count in range(12):
        await warehouse.hold(wish("A", 1, "b"), ttl_ms=1000 + count)
    await warehouse.hold(wish("A", 1, "a"), ttl_ms=2000)

    alone = await warehouse.run(warehouse.reserve(wish("A", 2, "a")))
    _, behind = await warehouse.batch(
        warehouse.reserve(wish("A", 1, "a"), ttl_ms=3000), warehouse.reserve(wish("A", 1, "a"))
    )

    assert parse_shortages(alone.fields[0]) == [Shortage("A", "a", 2, 1, "held", START_MS + 2000)]
    assert refused(behind) == [Shortage("A", "a", 1, 0, "held", START_MS + 2000)]


async def test_refusals_behind_more_holds_than_are_read_tell_no_later_instant(warehouse: Warehouse) -> None:
    """A hundred holds of other locations are looked at; what comes behind them is not due before the last of these."""
    await warehouse.stock("A", 1, "a")
    await warehouse.stock("A", 200, "b")
    await warehouse.hold(wish("A", 1, "a"), ttl_ms=5000)
    for count in range(105):
        await warehouse.hold(wish("A", 1, "b"), ttl_ms=1000 + count)

    (result,) = await warehouse.batch(warehouse.reserve(wish("A", 1, "a")))

    assert refused(result) == [Shortage("A", "a", 1, 0, "held", START_MS + 1099)]


@pytest.mark.parametrize("seed", range(30))
async def test_refusals_in_one_call_are_those_of_calls_of_their_own(warehouse: Warehouse, seed: int) -> None:
    """Random operations on one sku in a batch, and the same on a sku like it one by one, are answered alike."""
    dice = random.Random(seed)
    skus = ("A", "B")
    holds = {}
    for sku in skus:
        for location, units in (("a", 3), ("b", 2)):
            await warehouse.stock(sku, units, location)
        holds[sku] = [await warehouse.hold(wish(sku, 1, "a"), ttl_ms=1000 * count) for count in (4, 5)]
    calls: dict[str, list[Call]] = {sku: [] for sku in skus}
    for _ in range(14):
        kind = dice.choice(("reserve",) * 6 + ("release", "put"))
        quantity, place, units = dice.randint(1, 3), dice.choice((None, None, "a")), dice.randint(0, 4)
        partial, only, at = dice.random() < 0.2, dice.choice((None, None, ["b"])), dice.randrange(2)
        for sku in skus:
            if kind == "reserve":
                call = warehouse.reserve(wish(sku, quantity, place), partial=partial, locations=only)
            elif kind == "release":
                call = warehouse.release(holds[sku][at])
            else:
                call = warehouse.put(sku, "a", units)
            calls[sku].append(call)

    together = await warehouse.batch(*calls["A"])
    alone = [await warehouse.run(call) for call in calls["B"]]

    for result, answer in zip(together, alone, strict=True):
        assert result[0] == answer.status
        if result[0] == "OUT_OF_STOCK":
            assert result[1] == answer.fields[0].replace("B\t", "A\t")
        elif result[0] == "RESERVED":
            held = parse_reservation(0, result[1], result[2])
            assert [(line.location, line.quantity) for line in held.lines] == [
                (line.location, line.quantity) for line in told(answer).lines
            ]
            assert result[3] == answer.fields[2].replace("B\t", "A\t")
