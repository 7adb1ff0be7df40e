"""409 `out_of_stock`: every short line, how much there is, why not more, and when more may come."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.acceptance.client import Client


async def shortages(api: Client, *lines: Any, **fields: Any) -> list[dict[str, Any]]:
    """The shortages of a reserve that must be refused."""
    answer = await api.reserve(*lines, **fields)
    assert answer.outcome == (409, "out_of_stock"), answer.text
    return list(answer.body["shortages"])


async def test_shortage_of_units_that_do_not_exist_is_sold_out(api: Client) -> None:
    """Nobody holds anything: `sold_out`, no release to wait for, no location named."""
    await api.stock_up("A", 3)

    found = await shortages(api, ("A", 4))

    assert found == [
        {
            "sku": "A",
            "location": None,
            "requested": 4,
            "available": 3,
            "reason": "sold_out",
            "next_release_at": None,
        }
    ]


async def test_shortage_of_units_that_open_holds_would_free_is_held(api: Client) -> None:
    """`held` with the deadline of the hold that falls due first, not of the one that was made first."""
    await api.stock_up("A", 5)
    await api.hold("A", 1, ttl_seconds=600)
    soonest = await api.hold("A", 1, ttl_seconds=60)
    await api.hold("A", 1, ttl_seconds=120)

    found = await shortages(api, ("A", 5))

    assert [(s["available"], s["reason"]) for s in found] == [(2, "held")]
    assert found[0]["next_release_at"] == soonest["expires_at"]


async def test_shortage_after_a_hold_of_the_same_batch_tells_its_release(api: Client) -> None:
    """The hold that took the unit stands two operations before: its deadline is the earliest moment."""
    await api.stock_up("A", 1)
    one = {"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 1}], "ttl_seconds": 60}}

    first, second = await api.batch(one, one)

    shortage = second["body"]["shortages"][0]
    assert (shortage["reason"], shortage["next_release_at"]) == ("held", first["body"]["expires_at"])


async def test_shortage_after_moves_of_the_same_batch_tells_the_release_that_is_left(api: Client) -> None:
    """The soonest hold is released, extended or confirmed just before: what is told is the soonest of the others."""
    extend: dict[str, Any] = {"op": "extend", "body": {"ttl_seconds": 900}}
    moves: list[dict[str, Any]] = [{"op": "release"}, extend, {"op": "confirm"}]
    for number, move in enumerate(moves):
        sku = f"S{number}"
        await api.stock_up(sku, 3)
        soonest, later = await api.hold(sku, ttl_seconds=60), await api.hold(sku, ttl_seconds=120)
        more = {"op": "reserve", "body": {"lines": [{"sku": sku, "quantity": 2 if move["op"] == "confirm" else 3}]}}

        moved, refused = await api.batch(move | {"id": soonest["id"]}, more)

        assert (moved["status"], refused["status"]) == (200, 409)
        shortage = refused["body"]["shortages"][0]
        assert (shortage["reason"], shortage["next_release_at"]) == ("held", later["expires_at"]), move["op"]


async def test_shortage_beside_a_hold_of_the_same_moment_tells_its_release(api: Client) -> None:
    """Two buyers at once for each of twenty last pairs: every loser is told when the winner's hold falls due."""
    pairs = [(f"A{turn}", f"B{turn}") for turn in range(20)]
    for sku in sum(pairs, ()):
        await api.stock_up(sku, 1)

    answers = await asyncio.gather(
        *[api.reserve((a, 1), (b, 1), ttl_seconds=60) for first, second in pairs for a, b in ((first, second),) * 2]
    )

    for one, other in zip(answers[::2], answers[1::2], strict=True):
        won, lost = (one, other) if one.status == 201 else (other, one)
        assert lost.outcome == (409, "out_of_stock")
        told = {short["next_release_at"] for short in lost.body["shortages"]}
        assert told == {won.body["expires_at"]}


async def test_shortage_beyond_what_holds_would_free_is_sold_out(api: Client) -> None:
    """If all holds went back there still were too few."""
    await api.stock_up("A", 5)
    await api.hold("A", 3)

    found = await shortages(api, ("A", 6))

    assert [(s["requested"], s["available"], s["reason"]) for s in found] == [(6, 2, "sold_out")]


async def test_shortage_of_sold_units_is_sold_out(api: Client) -> None:
    """Confirmed units do not come back by waiting."""
    await api.stock_up("A", 2)
    held = await api.hold("A", 2)
    await api.done("confirm", held["id"])

    found = await shortages(api, ("A", 1))

    assert [(s["available"], s["reason"]) for s in found] == [(0, "sold_out")]


async def test_shortage_of_units_kept_for_safety_says_so(api: Client) -> None:
    """The units are there, but below the safety stock."""
    await api.stock_up("A", 5, safety_stock=3)

    found = await shortages(api, ("A", 4))

    assert [(s["available"], s["reason"]) for s in found] == [(2, "reserved_for_safety")]


async def test_shortage_of_a_paused_sku_says_so(api: Client) -> None:
    """A paused sku is refused with what there is, however much that is."""
    await api.stock_up("A", 5)
    await api.post("/v1/stock/A/pause")

    found = await shortages(api, ("A", 1))

    assert [(s["sku"], s["requested"], s["available"], s["reason"]) for s in found] == [("A", 1, 5, "paused")]


async def test_shortages_list_every_short_line_and_no_other(api: Client) -> None:
    """Each short line has its own reason; one that is covered is not named."""
    await api.stock_up("A", 1)
    await api.stock_up("B", 9)
    await api.stock_up("C", 4, safety_stock=4)
    held = await api.hold("A")

    found = await shortages(api, ("A", 1), ("B", 1), ("C", 1))

    assert [(s["sku"], s["reason"], s["next_release_at"]) for s in found if s["sku"] == "A"] == [
        ("A", "held", held["expires_at"])
    ]
    assert sorted((s["sku"], s["reason"]) for s in found) == [("A", "held"), ("C", "reserved_for_safety")]


async def test_shortage_at_a_named_location_tells_of_that_location(api: Client) -> None:
    """Other locations do not help a line that names its own."""
    await api.stock_up("A", 1, "berlin")
    await api.stock_up("A", 9, "paris")

    found = await shortages(api, ("A", 2, "berlin"))

    assert [(s["location"], s["requested"], s["available"]) for s in found] == [("berlin", 2, 1)]


async def test_shortage_at_a_location_without_a_level_has_nothing_available(api: Client) -> None:
    """The sku is known, the location has none of it: 409 with 0, not 422."""
    await api.stock_up("A", 9, "berlin")

    found = await shortages(api, ("A", 1, "nowhere"))

    assert [(s["sku"], s["location"], s["available"]) for s in found] == [("A", "nowhere", 0)]


async def test_shortage_over_several_locations_tells_the_total(api: Client) -> None:
    """Without a location: null, and the total over the locations that were considered."""
    await api.stock_up("A", 2, "berlin")
    await api.stock_up("A", 3, "paris")
    await api.stock_up("A", 7, "rome")

    everywhere = await shortages(api, ("A", 13))
    two_of_them = await shortages(api, ("A", 6), locations=["paris", "berlin"])

    assert [(s["location"], s["available"]) for s in everywhere] == [(None, 12)]
    assert [(s["location"], s["available"]) for s in two_of_them] == [(None, 5)]


async def test_shortage_of_an_oversold_level_is_not_clamped(api: Client) -> None:
    """A source that lowered `on_hand` below what is promised leaves a negative number, shown as it is."""
    await api.stock_up("A", 5)
    await api.hold("A", 5)
    await api.stock_up("A", 2)

    found = await shortages(api, ("A", 1, "main"))

    assert [s["available"] for s in found] == [-3]


async def test_shortage_changes_nothing(api: Client) -> None:
    """A refusal leaves version and position of the level as they were."""
    await api.stock_up("A", 5)
    before = await api.level("A")

    await shortages(api, ("A", 6))

    assert await api.level("A") == before
