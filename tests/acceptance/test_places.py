"""Which location serves a line: its own, the request's, the configured order, then all others by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.client import Client
from tests.acceptance.gateways import Gateway


async def stocked(api: Client, **units: int) -> None:
    """Sku `A` has these units at these locations, written in the reverse order of their names."""
    for location in sorted(units, reverse=True):
        await api.stock_up("A", units[location], location)


def places(reservation: dict[str, Any]) -> list[tuple[str, int]]:
    """Where a reservation took its units from, in the order of its lines."""
    return [(line["location"], line["quantity"]) for line in reservation["lines"]]


async def test_line_with_a_location_is_served_there_alone(api: Client) -> None:
    """The line's own location wins over the request's order."""
    await stocked(api, berlin=5, paris=5)

    answer = await api.reserve(("A", 2, "paris"), locations=["berlin"])

    assert places(answer.body) == [("paris", 2)]


async def test_line_without_a_location_is_served_by_the_first_by_name(api: Client) -> None:
    """Without any order, by name."""
    await stocked(api, berlin=5, paris=5, amsterdam=5)

    assert places(await api.hold("A", 5)) == [("amsterdam", 5)]


async def test_line_is_served_whole_by_a_later_location_rather_than_split(api: Client) -> None:
    """The first location that covers the whole line is taken, not the first with some units."""
    await stocked(api, amsterdam=2, berlin=2, paris=5)

    assert places(await api.hold("A", 4)) == [("paris", 4)]


async def test_line_that_no_location_covers_is_split_in_order(api: Client) -> None:
    """Each gives what it has, in the order of the names."""
    await stocked(api, amsterdam=2, berlin=3, paris=4)

    assert places(await api.hold("A", 7)) == [("amsterdam", 2), ("berlin", 3), ("paris", 2)]
    assert (await api.stock("A"))["available"] == 2


async def test_request_locations_are_an_order_of_preference(api: Client) -> None:
    """The request's own order is taken before the names, for whole lines and for splits."""
    await stocked(api, amsterdam=9, berlin=3, paris=4)

    whole = await api.reserve(("A", 2), locations=["paris", "berlin"])
    split = await api.reserve(("A", 4), locations=["paris", "berlin"])

    assert places(whole.body) == [("paris", 2)]
    assert places(split.body) == [("paris", 2), ("berlin", 2)]


async def test_request_locations_exclude_all_others(api: Client) -> None:
    """Only these: units elsewhere do not count."""
    await stocked(api, amsterdam=9, berlin=3)

    answer = await api.reserve(("A", 4), locations=["berlin"])

    assert answer.outcome == (409, "out_of_stock")
    assert answer.body["shortages"][0]["available"] == 3


async def test_request_location_without_a_level_has_nothing(api: Client) -> None:
    """A place that does not know the sku is passed over, it is not an error."""
    await stocked(api, berlin=3)

    passed = await api.reserve(("A", 2), locations=["nowhere", "berlin"])
    alone = await api.reserve(("A", 1), locations=["nowhere"])

    assert places(passed.body) == [("berlin", 2)]
    assert alone.outcome == (409, "out_of_stock")
    assert alone.body["shortages"][0]["available"] == 0


async def test_split_takes_nothing_from_an_oversold_location(api: Client) -> None:
    """A location that is short itself neither gives units nor takes them from the others."""
    await stocked(api, amsterdam=3, berlin=2, paris=2)
    await api.reserve(("A", 3, "amsterdam"))
    await api.stock_up("A", 0, "amsterdam")

    assert places(await api.hold("A", 4)) == [("berlin", 2), ("paris", 2)]


async def test_split_over_safety_stock_leaves_it_at_each_location(api: Client) -> None:
    """A split takes what is available of each, not what is on hand."""
    await api.stock_up("A", 4, "berlin", safety_stock=2)
    await api.stock_up("A", 4, "paris", safety_stock=1)

    assert places(await api.hold("A", 5)) == [("berlin", 2), ("paris", 3)]


async def test_two_lines_of_a_sku_at_two_locations_are_served_each_at_its_own(api: Client) -> None:
    """A repeated sku with two named places is two lines."""
    await stocked(api, berlin=1, paris=1)

    answer = await api.reserve(("A", 1, "paris"), ("A", 1, "berlin"))

    assert sorted(places(answer.body)) == [("berlin", 1), ("paris", 1)]


async def test_split_reservation_goes_back_to_where_it_came_from(api: Client) -> None:
    """Release returns the units of the stored lines, per location."""
    await stocked(api, berlin=2, paris=2)
    held = await api.hold("A", 3)

    await api.done("release", held["id"])

    assert [await api.counters("A", place) for place in ("berlin", "paris")] == [(2, 0, 0, 2), (2, 0, 0, 2)]


@pytest.fixture
async def preferring(new_gateway: Callable[..., Gateway], client_of: Callable[[Gateway], Client]) -> Client:
    """A client of a gateway that prefers rome, then paris."""
    running = new_gateway(GATEWAY_LOCATIONS__PRIORITY="rome,paris")
    running.start()
    return client_of(running)


async def test_configured_priority_comes_first_then_names(preferring: Client) -> None:
    """`[locations].priority`, then all others by name; the request's own list still wins."""
    await stocked(preferring, amsterdam=2, berlin=2, paris=2, rome=2)

    asked = await preferring.reserve(("A", 1), locations=["berlin", "rome"])
    first = await preferring.hold("A", 2)
    split = await preferring.hold("A", 5)

    assert places(asked.body) == [("berlin", 1)]
    assert places(first) == [("rome", 2)]
    assert places(split) == [("paris", 2), ("amsterdam", 2), ("berlin", 1)]
