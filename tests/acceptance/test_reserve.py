"""POST /v1/reservations: what a hold is, and that it is all lines or none."""

from __future__ import annotations

import pytest

from tests.acceptance.answers import instant_ms
from tests.acceptance.client import Client


async def test_reserve_one_line_answers_the_whole_reservation(api: Client) -> None:
    """201 with every field of the contract, a Location, the default tier and its deadline to the millisecond."""
    await api.stock_up("A", 10)

    answer = await api.reserve(("A", 2), reference="cart-17", customer="c-9", channel="web")

    held = answer.body
    assert answer.status == 201
    assert answer.headers["Location"].endswith(f"/v1/reservations/{held['id']}")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "Idempotent-Replayed" not in answer.headers
    assert held | {"shop": api.shop, "state": "held", "tier": "cart"} == held
    assert (held["reference"], held["customer"], held["channel"]) == ("cart-17", "c-9", "web")
    assert held["lines"] == [{"sku": "A", "location": "main", "quantity": 2}]
    assert (held["confirmed_at"], held["ended_at"]) == (None, None)
    assert instant_ms(held["expires_at"]) - instant_ms(held["created_at"]) == 300_000
    assert await api.counters("A") == (10, 2, 0, 8)


async def test_reserve_without_names_answers_null_for_each(api: Client) -> None:
    """What the client did not name reads null, not absent and not empty."""
    await api.stock_up("A", 1)

    held = await api.hold("A")

    assert (held["reference"], held["customer"], held["channel"]) == (None, None, None)


async def test_reserve_read_again_is_what_was_answered(api: Client) -> None:
    """GET of the Location gives the reservation; only `durable` may have turned true meanwhile."""
    await api.stock_up("A", 5)
    answer = await api.reserve(("A", 1), reference="r", ack="durable")

    found = await api.reservation(answer.body["id"])

    assert answer.body["durable"] is True
    assert found == answer.body


async def test_reserve_with_one_short_line_holds_nothing(api: Client) -> None:
    """All lines or none: one that is short leaves the others as they were."""
    await api.stock_up("A", 5)
    await api.stock_up("B", 1)
    await api.stock_up("C", 5)

    answer = await api.reserve(("A", 1), ("B", 2), ("C", 1))

    assert answer.outcome == (409, "out_of_stock")
    assert [short["sku"] for short in answer.body["shortages"]] == ["B"]
    assert [await api.counters(sku) for sku in "ABC"] == [(5, 0, 0, 5), (1, 0, 0, 1), (5, 0, 0, 5)]


async def test_reserve_of_a_repeated_sku_is_judged_by_its_sum(api: Client) -> None:
    """3 + 3 of 5 is refused as 6, 2 + 3 of 5 is granted."""
    await api.stock_up("A", 5)

    refused = await api.reserve(("A", 3), ("A", 3))
    granted = await api.reserve(("A", 2), ("A", 3))

    assert refused.outcome == (409, "out_of_stock")
    assert [(s["sku"], s["requested"], s["available"]) for s in refused.body["shortages"]] == [("A", 6, 5)]
    assert granted.status == 201
    assert sum(line["quantity"] for line in granted.body["lines"]) == 5
    assert await api.counters("A") == (5, 5, 0, 0)


async def test_reserve_of_a_repeated_sku_at_one_location_is_judged_by_its_sum(api: Client) -> None:
    """The same with the location named, and a third line of another sku between them."""
    await api.stock_up("A", 5)
    await api.stock_up("B", 5)

    refused = await api.reserve(("A", 3, "main"), ("B", 1), ("A", 3, "main"))

    assert refused.outcome == (409, "out_of_stock")
    assert [(s["sku"], s["requested"]) for s in refused.body["shortages"]] == [("A", 6)]
    assert (await api.stock("B"))["held"] == 0


async def test_reserve_of_a_repeated_sku_with_and_without_location_never_oversells(api: Client) -> None:
    """A line with a location and one without compete for the same units: together they get no more than there are."""
    await api.stock_up("A", 5)

    refused = await api.reserve(("A", 3, "main"), ("A", 3))
    granted = await api.reserve(("A", 3, "main"), ("A", 2))

    assert refused.outcome == (409, "out_of_stock")
    assert granted.status == 201
    assert await api.counters("A") == (5, 5, 0, 0)


async def test_reserve_of_unknown_skus_names_all_of_them(api: Client) -> None:
    """422 `unknown_sku` lists every one, and a known short line beside them changes nothing."""
    await api.stock_up("A", 1)

    answer = await api.reserve(("X", 1), ("A", 2), ("Y", 1))

    assert answer.outcome == (422, "unknown_sku")
    assert sorted(answer.body["skus"]) == ["X", "Y"]


async def test_reserve_in_another_shop_does_not_see_the_sku(api: Client) -> None:
    """A level belongs to one shop."""
    await api.stock_up("A", 5)

    answer = await api.for_shop(f"{api.shop}-other").reserve(("A", 1))

    assert answer.outcome == (422, "unknown_sku")


async def test_reserve_names_its_shop_in_the_body_too(api: Client) -> None:
    """`shop` is a body field or a query parameter."""
    await api.stock_up("A", 5)

    answer = await api.for_shop(None).reserve(("A", 1), shop=api.shop)

    assert answer.status == 201
    assert answer.body["shop"] == api.shop
    assert (await api.stock("A"))["held"] == 1


async def test_reserve_without_a_shop_works_on_main(api: Client) -> None:
    """Without a key the default shop is `main`."""
    sku = f"sku-{api.shop}"
    await api.for_shop("main").stock_up(sku, 1)

    held = await api.for_shop(None).hold(sku)

    assert held["shop"] == "main"


async def test_reservation_of_another_shop_is_not_found(api: Client) -> None:
    """Every call works on one shop: neither reading nor confirming reaches into another."""
    await api.stock_up("A", 5)
    held = await api.hold("A")
    other = api.for_shop(f"{api.shop}-other")

    read = await other.get(f"/v1/reservations/{held['id']}")
    confirmed = await other.act("confirm", held["id"])

    assert read.outcome == confirmed.outcome == (404, "reservation_not_found")
    assert (await api.reservation(held["id"]))["state"] == "held"


async def test_reserve_twice_without_a_key_holds_twice(api: Client) -> None:
    """Without an Idempotency-Key a repetition is another reservation."""
    await api.stock_up("A", 5)

    first, second = await api.hold("A"), await api.hold("A")

    assert first["id"] != second["id"]
    assert await api.counters("A") == (5, 2, 0, 3)


@pytest.mark.parametrize(
    ("tier", "seconds"), [("cart", 300), ("checkout", 1800), ("payment", 900), ("order", 86400), ("blink", 1)]
)
async def test_reserve_of_a_tier_gets_its_ttl(api: Client, tier: str, seconds: int) -> None:
    """A request that names no time gets the tier's own, from the defaults or from the file."""
    await api.stock_up("A", 5)

    held = await api.hold("A", tier=tier)

    assert held["tier"] == tier
    assert instant_ms(held["expires_at"]) - instant_ms(held["created_at"]) == seconds * 1000


@pytest.mark.parametrize(("ttl", "status"), [(1, 201), (1800, 201), (1801, 422), (0, 422), (-1, 422), (10**12, 422)])
async def test_reserve_ttl_is_taken_within_the_tiers_limits_and_never_clamped(
    api: Client, ttl: int, status: int
) -> None:
    """1 and `ttl_seconds_max` are taken exactly, anything outside is refused."""
    await api.stock_up("A", 5)

    answer = await api.reserve(("A", 1), ttl_seconds=ttl)

    assert answer.status == status, answer.text
    if status == 201:
        assert instant_ms(answer.body["expires_at"]) - instant_ms(answer.body["created_at"]) == ttl * 1000
    else:
        assert answer.fields == ["ttl_seconds"]
        assert (await api.stock("A"))["held"] == 0


async def test_reserve_of_1000_lines_is_granted_and_1001_refused(api: Client) -> None:
    """`lines` has 1..1000 entries."""
    await api.stock_up("A", 5000)

    refused = await api.reserve(*[("A", 1)] * 1001)
    granted = await api.reserve(*[("A", 1)] * 1000)

    assert refused.outcome == (422, "invalid_request")
    assert granted.status == 201
    assert await api.counters("A") == (5000, 1000, 0, 4000)


async def test_reserve_of_the_largest_quantity_is_exact(api: Client) -> None:
    """A thousand million units are held to the last one."""
    await api.stock_up("A", 1_000_000_000)

    held = await api.hold("A", 1_000_000_000)

    assert held["lines"][0]["quantity"] == 1_000_000_000
    assert await api.counters("A") == (1_000_000_000, 1_000_000_000, 0, 0)


async def test_reservation_that_never_existed_is_not_found(api: Client) -> None:
    """404 `reservation_not_found` for reading and for every operation, whatever the id looks like."""
    await api.stock_up("A", 5)
    held = await api.hold("A")
    similar = held["id"][:-1] + ("A" if held["id"][-1] != "A" else "B")

    for reservation_id in (similar, "nonsense", "rsv_", "rsv_0-1-1", held["id"] + "x", "é", "%00", "a" * 300):
        read = await api.get("/v1/reservations/" + (reservation_id if reservation_id.isascii() else "%C3%A9"))
        assert read.outcome == (404, "reservation_not_found"), reservation_id
    for operation in ("extend", "confirm", "fulfil", "release", "delete"):
        assert (await api.act(operation, similar)).outcome == (404, "reservation_not_found"), operation
