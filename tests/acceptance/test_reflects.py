"""`reflects`: a count that no longer contains units which were sold, so that they are not subtracted twice."""

from __future__ import annotations

from typing import Any

from tests.acceptance.aged import Aged
from tests.acceptance.client import Client


async def sold(api: Client, *lines: Any) -> str:
    """The id of a confirmed reservation."""
    held = (await api.reserve(*lines)).body
    await api.done("confirm", held["id"])
    return str(held["id"])


async def count(api: Client, on_hand: int, *ids: str, sku: str = "A", location: str = "main", sequence: int = 1) -> Any:
    """A count by the source `wms` that reflects the reservations."""
    body = {"source": "wms", "sequence": sequence, "on_hand": on_hand, "reflects": list(ids)}
    return await api.put_level(sku, location, **body)


async def test_count_settles_the_sales_it_reflects(api: Client) -> None:
    """on_hand ends exactly at the count, only committed falls, the reservations are fulfilled."""
    await api.stock_up("A", 10)
    first, second, third = [await sold(api, ("A", quantity)) for quantity in (1, 2, 3)]

    answer = await count(api, 7, first, second)

    assert (answer.status, answer.body["applied"]) == (200, True)
    assert await api.counters("A") == (7, 0, 3, 4)
    assert [(await api.reservation(one))["state"] for one in (first, second, third)] == [
        "fulfilled",
        "fulfilled",
        "confirmed",
    ]


async def test_fulfil_after_a_reflecting_count_subtracts_nothing_again(api: Client) -> None:
    """The reservation is settled: fulfil is 200 as it is, release is 409."""
    await api.stock_up("A", 10)
    one = await sold(api, ("A", 2))
    await count(api, 8, one)

    fulfilled = await api.act("fulfil", one)
    released = await api.act("release", one)

    assert (fulfilled.status, fulfilled.body["state"]) == (200, "fulfilled")
    assert released.outcome == (409, "reservation_fulfilled")
    assert await api.counters("A") == (8, 0, 0, 8)


async def test_count_of_one_level_settles_only_its_lines(api: Client) -> None:
    """A reservation over two skus and two places stays confirmed until all its lines are settled."""
    await api.stock_up("A", 10, "berlin")
    await api.stock_up("A", 10, "paris")
    await api.stock_up("B", 10)
    one = await sold(api, ("A", 1, "berlin"), ("A", 2, "paris"), ("B", 3))

    await count(api, 9, one, location="berlin")
    after_first = (await api.reservation(one))["state"]
    await count(api, 7, one, sku="B")
    after_second = (await api.reservation(one))["state"]
    await count(api, 8, one, location="paris")
    after_third = (await api.reservation(one))["state"]

    assert (after_first, after_second, after_third) == ("confirmed", "confirmed", "fulfilled")
    assert [await api.counters("A", "berlin"), await api.counters("A", "paris"), await api.counters("B")] == [
        (9, 0, 0, 9),
        (8, 0, 0, 8),
        (7, 0, 0, 7),
    ]


async def test_fulfil_after_a_partial_count_touches_the_other_lines_only(api: Client) -> None:
    """What was settled is not subtracted again, the rest leaves the building."""
    await api.stock_up("A", 10)
    await api.stock_up("B", 10)
    one = await sold(api, ("A", 2), ("B", 3))
    await count(api, 8, one)

    fulfilled = await api.done("fulfil", one)

    assert fulfilled["state"] == "fulfilled"
    assert [await api.counters(sku) for sku in "AB"] == [(8, 0, 0, 8), (7, 0, 0, 7)]


async def test_release_after_a_partial_count_touches_the_other_lines_only(api: Client) -> None:
    """Settled units are gone for good, the others go back on sale."""
    await api.stock_up("A", 10)
    await api.stock_up("B", 10)
    one = await sold(api, ("A", 2), ("B", 3))
    await count(api, 8, one)

    released = await api.done("release", one)

    assert released["state"] == "released"
    assert [await api.counters(sku) for sku in "AB"] == [(8, 0, 0, 8), (10, 0, 0, 10)]


async def test_count_that_reflects_an_unknown_reservation_is_refused_whole(api: Client) -> None:
    """422 names the id; neither the count nor the other reservations are touched, and the sequence is still free."""
    await api.stock_up("A", 10)
    one = await sold(api, ("A", 2))
    unknown = one[:-1] + ("A" if one[-1] != "A" else "B")
    before = await api.level("A")

    answer = await count(api, 8, one, unknown)

    assert answer.status == 422
    assert unknown in answer.text
    assert one not in answer.text
    assert await api.level("A") == before
    assert (await api.reservation(one))["state"] == "confirmed"
    assert (await count(api, 8, one)).body["applied"] is True


async def test_count_that_reflects_what_is_not_confirmed_is_refused_whole(api: Client, aged: Aged) -> None:
    """Held, released, fulfilled and expired ones: 422 naming each, nothing applied."""
    client = api.for_shop(aged.shop)
    good = await sold(client, ("A", 1))
    held = (await client.hold("A"))["id"]
    released = (await client.hold("A"))["id"]
    await client.done("release", released)
    fulfilled = (await client.hold("A"))["id"]
    await client.done("confirm", fulfilled, {"fulfil": True})
    before = await client.level("A")

    for bad in (held, released, fulfilled, aged.id):
        answer = await count(client, 3, good, bad)
        assert answer.status == 422, answer.text
        assert bad in answer.text
        assert good not in answer.text
    together = await count(client, 3, held, good, aged.id)

    assert together.status == 422
    assert held in together.text
    assert aged.id in together.text
    assert await client.level("A") == before
    assert (await client.reservation(good))["state"] == "confirmed"


async def test_repeated_count_settles_once(api: Client) -> None:
    """The same sequence with the same content is a repetition, although its reservations are fulfilled by now."""
    await api.stock_up("A", 10)
    one = await sold(api, ("A", 2))

    first = await count(api, 8, one)
    again = await count(api, 8, one)

    assert (first.body["applied"], again.status, again.body["applied"]) == (True, 200, False)
    assert await api.counters("A") == (8, 0, 0, 8)


async def test_same_sequence_that_reflects_others_is_stale(api: Client) -> None:
    """The reservations belong to the content of a write."""
    await api.stock_up("A", 10)
    first, second = await sold(api, ("A", 1)), await sold(api, ("A", 2))
    await count(api, 8, first)

    answer = await count(api, 8, second)

    assert answer.outcome == (409, "stale_sequence")
    assert (await api.reservation(second))["state"] == "confirmed"


async def test_stale_count_settles_nothing(api: Client) -> None:
    """A count that comes too late does not touch the reservations either."""
    await api.stock_up("A", 10)
    one = await sold(api, ("A", 2))
    await api.put_level("A", source="wms", sequence=5, on_hand=10)

    answer = await count(api, 8, one, sequence=4)

    assert answer.outcome == (409, "stale_sequence")
    assert await api.counters("A") == (10, 0, 2, 8)


async def test_count_reflects_at_most_1000_reservations(api: Client) -> None:
    """1001 ids are refused as a list, before any is looked at."""
    await api.stock_up("A", 10)

    answer = await count(api, 8, *["rsv_1"] * 1001)

    assert (answer.outcome, answer.fields) == ((422, "invalid_request"), ["reflects"])


async def test_count_that_names_a_reservation_twice_settles_it_once(api: Client) -> None:
    """Refused or settled once; committed never falls twice."""
    await api.stock_up("A", 10)
    one, other = await sold(api, ("A", 2)), await sold(api, ("A", 3))

    answer = await count(api, 8, one, one)

    assert answer.status in {200, 422}
    assert await api.counters("A") == ((8, 0, 3, 5) if answer.status == 200 else (10, 0, 5, 5))
    assert (await api.reservation(other))["state"] == "confirmed"


async def test_count_of_a_split_line_settles_the_part_of_its_location(api: Client) -> None:
    """A line that was split over two places is two lines here."""
    await api.stock_up("A", 2, "berlin")
    await api.stock_up("A", 2, "paris")
    one = await sold(api, ("A", 3))

    await count(api, 0, one, location="berlin")

    assert (await api.reservation(one))["state"] == "confirmed"
    assert [await api.counters("A", place) for place in ("berlin", "paris")] == [(0, 0, 0, 0), (2, 0, 1, 1)]
