"""POST …/confirm and …/fulfil: a sale, on time or reacquired, and the units that leave the building."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.aged import Aged
from tests.acceptance.answers import instant_ms
from tests.acceptance.client import Client


async def test_confirm_turns_held_units_into_committed_ones(api: Client) -> None:
    """`available` does not move; the deadline is gone; the sale is durable before it is answered."""
    await api.stock_up("A", 5)
    held = await api.hold("A", 2)

    confirmed = await api.done("confirm", held["id"])

    assert (confirmed["state"], confirmed["expires_at"], confirmed["durable"]) == ("confirmed", None, True)
    assert instant_ms(confirmed["confirmed_at"]) >= instant_ms(held["created_at"])
    assert confirmed["ended_at"] is None
    assert confirmed["lines"] == held["lines"]
    assert not confirmed.get("reacquired")
    assert await api.counters("A") == (5, 0, 2, 3)
    assert await api.reservation(held["id"]) == {k: v for k, v in confirmed.items() if k != "reacquired"}


async def test_confirm_and_fulfil_at_once(api: Client) -> None:
    """`fulfil: true` also does the next row: on_hand goes down, nothing is committed."""
    await api.stock_up("A", 5)
    held = await api.hold("A", 2)

    fulfilled = await api.done("confirm", held["id"], {"fulfil": True})

    assert fulfilled["state"] == "fulfilled"
    assert fulfilled["confirmed_at"] is not None
    assert fulfilled["ended_at"] is not None
    assert await api.counters("A") == (3, 0, 0, 3)


async def test_confirm_with_fulfil_of_a_confirmed_one_fulfils_it(api: Client) -> None:
    """The repetition of a confirm may still ask for the next row; once fulfilled it stays as it is."""
    await api.stock_up("A", 5)
    held = await api.hold("A", 2)
    confirmed = await api.done("confirm", held["id"], {"fulfil": False})

    fulfilled = await api.done("confirm", held["id"], {"fulfil": True})
    again = await api.done("confirm", held["id"], {"fulfil": True})

    assert (confirmed["state"], fulfilled["state"]) == ("confirmed", "fulfilled")
    assert again == fulfilled
    assert await api.counters("A") == (3, 0, 0, 3)


async def test_fulfil_takes_units_off_the_shelf(api: Client) -> None:
    """on_hand and committed go down by the same, available stays."""
    await api.stock_up("A", 5)
    held = await api.hold("A", 2)
    confirmed = await api.done("confirm", held["id"])

    fulfilled = await api.done("fulfil", held["id"])

    assert fulfilled["state"] == "fulfilled"
    assert fulfilled["confirmed_at"] == confirmed["confirmed_at"]
    assert instant_ms(fulfilled["ended_at"]) >= instant_ms(confirmed["confirmed_at"])
    assert await api.counters("A") == (3, 0, 0, 3)


@pytest.mark.parametrize("body", [None, {}, {"if_expired": "reject"}])
async def test_confirm_of_an_expired_hold_is_refused(api: Client, aged: Aged, body: Any) -> None:
    """A hold past its deadline is never confirmed as it was; that is also the default."""
    client = api.for_shop(aged.shop)

    answer = await client.act("confirm", aged.id, body)

    assert answer.outcome == (409, "reservation_expired")
    assert await client.counters("A") == (5, 0, 0, 5)


async def test_reacquire_takes_the_same_lines_again(api: Client, aged: Aged) -> None:
    """Still free: 200 with `reacquired`, committed; a second reacquire finds it confirmed."""
    client = api.for_shop(aged.shop)
    before = await client.reservation(aged.id)

    answer = await client.act("confirm", aged.id, {"if_expired": "reacquire"})
    again = await client.act("confirm", aged.id, {"if_expired": "reacquire"})

    assert (answer.status, answer.body["reacquired"], answer.body["state"]) == (200, True, "confirmed")
    assert answer.body["lines"] == before["lines"]
    assert answer.body["ended_at"] is None
    assert (again.status, again.body["state"]) == (200, "confirmed")
    assert await client.counters("A") == (5, 0, 2, 3)


async def test_reacquire_of_units_that_are_gone_is_out_of_stock(api: Client, aged: Aged) -> None:
    """4 of 5 were sold to others: 409 with the shortage, and the reservation stays expired."""
    client = api.for_shop(aged.shop)
    await client.hold("A", 4)

    answer = await client.act("confirm", aged.id, {"if_expired": "reacquire"})

    assert answer.outcome == (409, "out_of_stock")
    assert [(s["sku"], s["requested"], s["available"]) for s in answer.body["shortages"]] == [("A", 2, 1)]
    assert (await client.reservation(aged.id))["state"] == "expired"
    assert await client.counters("A") == (5, 4, 0, 1)


async def test_reacquire_takes_the_same_places_or_none(api: Client) -> None:
    """The same lines again: units at another location do not help, and the shortage names the place."""
    await api.stock_up("A", 1, "berlin")
    held = await api.hold("A", ttl_seconds=1)
    await api.stock_up("A", 5, "paris")
    await api.expired(held["id"])
    await api.reserve(("A", 1, "berlin"))

    answer = await api.act("confirm", held["id"], {"if_expired": "reacquire"})

    assert answer.outcome == (409, "out_of_stock")
    assert [(s["location"], s["available"]) for s in answer.body["shortages"]] == [("berlin", 0)]
    assert await api.counters("A", "paris") == (5, 0, 0, 5)


async def test_reacquire_and_fulfil_at_once(api: Client, aged: Aged) -> None:
    """Both options of confirm together."""
    client = api.for_shop(aged.shop)

    answer = await client.act("confirm", aged.id, {"if_expired": "reacquire", "fulfil": True})

    assert (answer.status, answer.body["reacquired"], answer.body["state"]) == (200, True, "fulfilled")
    assert await client.counters("A") == (3, 0, 0, 3)


async def test_reacquire_of_a_live_hold_is_a_plain_confirm(api: Client) -> None:
    """The option only matters past the deadline."""
    await api.stock_up("A", 5)
    held = await api.hold("A", 2)

    confirmed = await api.done("confirm", held["id"], {"if_expired": "reacquire"})

    assert confirmed["state"] == "confirmed"
    assert not confirmed.get("reacquired")
    assert await api.counters("A") == (5, 0, 2, 3)


async def test_reacquire_of_a_released_one_is_refused(api: Client) -> None:
    """`released` is terminal: only `expired` can be left."""
    await api.stock_up("A", 5)
    held = await api.hold("A", 2)
    await api.done("release", held["id"])

    answer = await api.act("confirm", held["id"], {"if_expired": "reacquire"})

    assert answer.outcome == (409, "reservation_released")


async def test_release_after_a_failed_reacquire_changes_nothing(api: Client, aged: Aged) -> None:
    """Release of an expired one is 200 and it stays expired, so nothing is given back twice."""
    client = api.for_shop(aged.shop)
    await client.hold("A", 5)
    await client.act("confirm", aged.id, {"if_expired": "reacquire"})

    released = await client.done("release", aged.id)

    assert released["state"] == "expired"
    assert await client.counters("A") == (5, 5, 0, 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"if_expired": "retry"}, "if_expired"),
        ({"if_expired": True}, "if_expired"),
        ({"fulfil": "yes"}, "fulfil"),
        ({"fulfil": 1}, "fulfil"),
        ({"fulfill": True}, "fulfill"),
    ],
)
async def test_confirm_with_a_wrong_field_is_refused(api: Client, body: dict[str, Any], field: str) -> None:
    """A typo must not pass silently, least of all in a sale."""
    await api.stock_up("A", 5)
    held = await api.hold("A", ack="durable")

    answer = await api.act("confirm", held["id"], body)

    assert (answer.outcome, answer.fields) == ((422, "invalid_request"), [field])
    assert await api.reservation(held["id"]) == held


async def test_confirm_of_an_oversold_sku_keeps_the_promise(api: Client) -> None:
    """A source that lowered on_hand does not take a hold away from its buyer."""
    await api.stock_up("A", 5)
    held = await api.hold("A", 5)
    await api.stock_up("A", 1)

    await api.done("confirm", held["id"])

    assert await api.counters("A") == (1, 0, 5, -4)


@pytest.mark.parametrize("operation", ["release", "delete"])
async def test_release_of_a_confirmed_one_gives_its_units_back(api: Client, operation: str) -> None:
    """A cancelled order: committed goes down, the units are on sale again."""
    await api.stock_up("A", 5)
    held = await api.hold("A", 2)
    await api.done("confirm", held["id"])

    released = await api.done(operation, held["id"])

    assert released["state"] == "released"
    assert released["ended_at"] is not None
    assert await api.counters("A") == (5, 0, 0, 5)


async def test_release_takes_a_reason_and_nothing_else(api: Client) -> None:
    """`reason` is optional; lines or quantities from the client are refused, the stored ones count."""
    await api.stock_up("A", 5)
    held = await api.hold("A", 2)

    refused = await api.act("release", held["id"], {"lines": [{"sku": "A", "quantity": 1}]})
    released = await api.act("release", held["id"], {"reason": "payment failed"})

    assert (refused.outcome, refused.fields) == ((422, "invalid_request"), ["lines"])
    assert released.status == 200
    assert await api.counters("A") == (5, 0, 0, 5)
