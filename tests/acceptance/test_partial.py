"""`allow_partial`: each line gets what is available, and the reply says what is missing."""

from __future__ import annotations

from typing import Any

from tests.acceptance.client import Client


def gist(shortages: list[dict[str, Any]]) -> list[tuple[str, int, int, str]]:
    """What the tests below compare of shortages."""
    return sorted((s["sku"], s["requested"], s["available"], s["reason"]) for s in shortages)


async def test_partial_gives_each_line_what_there_is(api: Client) -> None:
    """A short line gets the rest, an empty one is left out, both are in `shortages`."""
    await api.stock_up("A", 3)
    await api.stock_up("B", 0)
    await api.stock_up("C", 9)

    answer = await api.reserve(("A", 5), ("B", 1), ("C", 2), allow_partial=True)

    assert answer.status == 201
    assert [(line["sku"], line["quantity"]) for line in answer.body["lines"]] == [("A", 3), ("C", 2)]
    assert gist(answer.body["shortages"]) == [("A", 5, 3, "sold_out"), ("B", 1, 0, "sold_out")]
    assert await api.counters("A") == (3, 3, 0, 0)


async def test_partial_that_gets_nothing_at_all_is_refused(api: Client) -> None:
    """409 if every line gets 0."""
    await api.stock_up("A", 0)
    await api.stock_up("B", 2, safety_stock=5)

    answer = await api.reserve(("A", 1), ("B", 1), allow_partial=True)

    assert answer.outcome == (409, "out_of_stock")
    assert {short["sku"] for short in answer.body["shortages"]} == {"A", "B"}


async def test_partial_that_gets_everything_is_a_plain_reservation(api: Client) -> None:
    """Nothing is missing: no shortage is told."""
    await api.stock_up("A", 5)

    answer = await api.reserve(("A", 2), allow_partial=True)

    assert answer.status == 201
    assert not answer.body.get("shortages")


async def test_partial_of_a_repeated_sku_is_summed(api: Client) -> None:
    """4 + 4 of 6 gets 6 in all."""
    await api.stock_up("A", 6)

    answer = await api.reserve(("A", 4), ("A", 4), allow_partial=True)

    assert answer.status == 201
    assert sum(line["quantity"] for line in answer.body["lines"]) == 6
    assert await api.counters("A") == (6, 6, 0, 0)
    assert gist(answer.body["shortages"]) == [("A", 8, 6, "sold_out")]


async def test_partial_takes_from_several_locations(api: Client) -> None:
    """The rest of every location is taken before a line counts as short."""
    await api.stock_up("A", 2, "berlin")
    await api.stock_up("A", 3, "paris")

    answer = await api.reserve(("A", 9), allow_partial=True)

    assert [(line["location"], line["quantity"]) for line in answer.body["lines"]] == [("berlin", 2), ("paris", 3)]
    assert gist(answer.body["shortages"]) == [("A", 9, 5, "sold_out")]


async def test_partial_of_a_paused_sku_gets_none_of_it(api: Client) -> None:
    """A paused line is left out, the others are held."""
    await api.stock_up("A", 5)
    await api.stock_up("B", 5)
    await api.post("/v1/stock/A/pause")

    answer = await api.reserve(("A", 1), ("B", 1), allow_partial=True)

    assert [(line["sku"], line["quantity"]) for line in answer.body["lines"]] == [("B", 1)]
    assert gist(answer.body["shortages"]) == [("A", 1, 5, "paused")]


async def test_partial_of_an_oversold_level_gets_none_of_it(api: Client) -> None:
    """Negative availability gives 0 units, not a negative line."""
    await api.stock_up("A", 5)
    await api.stock_up("B", 1)
    await api.hold("A", 5)
    await api.stock_up("A", 1)

    answer = await api.reserve(("A", 1), ("B", 1), allow_partial=True)

    assert [(line["sku"], line["quantity"]) for line in answer.body["lines"]] == [("B", 1)]
    assert await api.counters("A") == (1, 5, 0, -4)


async def test_partial_does_not_excuse_an_unknown_sku(api: Client) -> None:
    """What has no level is a mistake, not a shortage."""
    await api.stock_up("A", 5)

    answer = await api.reserve(("A", 1), ("X", 1), allow_partial=True)

    assert answer.outcome == (422, "unknown_sku")
    assert (await api.stock("A"))["held"] == 0


async def test_partial_replayed_is_the_same_reservation(api: Client) -> None:
    """The key gives the first result again even when more has become available."""
    await api.stock_up("A", 2)
    first = await api.reserve(("A", 5), allow_partial=True, key="k")
    await api.stock_up("A", 9)

    again = await api.reserve(("A", 5), allow_partial=True, key="k")

    assert again.is_replayed
    assert (again.status, again.body["id"], again.body["lines"]) == (201, first.body["id"], first.body["lines"])
    assert "shortages" not in again.body  # what was short then is not kept, and "nothing" would be false
    assert (await api.stock("A"))["held"] == 2
