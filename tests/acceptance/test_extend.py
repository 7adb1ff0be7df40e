"""POST …/extend: a live hold gets a new deadline, counted from now, within its tier's lifetime."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.answers import instant_ms
from tests.acceptance.client import Client

SLACK_MS = 30_000  # far below what another reading of the ttl would differ by, far above what a machine stands still
SHORT_SECONDS = 4  # waited for, and yet no machine stands still so long between two calls


async def test_extend_without_a_body_counts_the_tiers_ttl_from_now(api: Client) -> None:
    """A hold of 60 s in the tier cart gets 300 s from now; nothing else of it changes."""
    await api.stock_up("A", 5)
    held = await api.hold("A", ttl_seconds=60)

    extended = await api.done("extend", held["id"])

    left_ms = instant_ms(extended["expires_at"]) - instant_ms(held["created_at"])
    assert 300_000 <= left_ms < 300_000 + SLACK_MS
    same = {"expires_at", "position", "durable"}
    assert {k: v for k, v in extended.items() if k not in same} == {k: v for k, v in held.items() if k not in same}
    assert await api.reservation(held["id"]) == extended
    assert await api.counters("A") == (5, 1, 0, 4)


async def test_extend_to_another_tier_takes_its_ttl(api: Client) -> None:
    """cart → checkout → payment: the hold moves, the deadline is the new tier's."""
    await api.stock_up("A", 5)
    held = await api.hold("A")

    for tier, seconds in (("checkout", 1800), ("payment", 900)):
        extended = await api.done("extend", held["id"], {"tier": tier})

        assert extended["tier"] == tier
        left_ms = instant_ms(extended["expires_at"]) - instant_ms(held["created_at"])
        assert seconds * 1000 <= left_ms < seconds * 1000 + SLACK_MS


async def test_extend_may_shorten_because_it_counts_from_now(api: Client) -> None:
    """`ttl_seconds` below what is left moves the deadline nearer."""
    await api.stock_up("A", 5)
    held = await api.hold("A")

    extended = await api.done("extend", held["id"], {"ttl_seconds": 5})

    assert instant_ms(extended["expires_at"]) < instant_ms(held["expires_at"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ttl_seconds": 1801}, "ttl_seconds"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"tier": "checkout", "ttl_seconds": 3601}, "ttl_seconds"),
        ({"tier": "nope"}, "tier"),
        ({"until": "2030-01-01T00:00:00.000Z"}, "until"),
        ({"expires_at": "2030-01-01T00:00:00.000Z"}, "expires_at"),
    ],
)
async def test_extend_with_a_wrong_field_is_refused(api: Client, body: dict[str, object], field: str) -> None:
    """Outside the tier's limits, an unknown tier, or a deadline instead of a duration: 422, nothing changed."""
    await api.stock_up("A", 5)
    held = await api.hold("A", ack="durable")

    answer = await api.act("extend", held["id"], body)

    assert answer.outcome == (422, "invalid_request")
    assert answer.fields == [field]
    assert await api.reservation(held["id"]) == held


async def test_extend_past_the_lifetime_is_refused(api: Client) -> None:
    """The new deadline would lie beyond created_at + lifetime: 409, the old deadline stays."""
    await api.stock_up("A", 5)
    held = await api.hold("A", tier="fixed", ack="durable")
    await asyncio.sleep(0.01)

    refused = await api.act("extend", held["id"])
    shorter = await api.act("extend", held["id"], {"ttl_seconds": 30})

    assert refused.outcome == (409, "extension_limit")
    assert refused.body["id"] == held["id"]
    assert shorter.status == 200


async def test_extend_to_a_tier_with_a_longer_lifetime_is_granted(api: Client) -> None:
    """The lifetime is that of the tier that the hold moves to, since the hold was created."""
    await api.stock_up("A", 5)
    held = await api.hold("A", tier="fixed")
    await asyncio.sleep(0.01)

    refused = await api.act("extend", held["id"], {"ttl_seconds": 60})
    moved = await api.done("extend", held["id"], {"tier": "checkout"})
    back = await api.act("extend", held["id"], {"tier": "fixed"})

    assert refused.outcome == back.outcome == (409, "extension_limit")
    assert (await api.reservation(held["id"]))["expires_at"] == moved["expires_at"]


async def test_extended_hold_outlives_its_first_deadline(api: Client) -> None:
    """The units stay held when the deadline passes that the hold was made with."""
    await api.stock_up("A", 1)
    await api.stock_up("B", 1)
    held = await api.hold("A", ttl_seconds=SHORT_SECONDS)
    witness = await api.hold("B", ttl_seconds=SHORT_SECONDS)
    await api.done("extend", held["id"], {"ttl_seconds": 60})

    await api.expired(witness["id"])

    assert (await api.reservation(held["id"]))["state"] == "held"
    assert (await api.reserve(("A", 1))).code == "out_of_stock"


async def test_shortened_hold_ends_at_its_new_deadline(api: Client) -> None:
    """The units are free at the nearer deadline."""
    await api.stock_up("A", 1)
    held = await api.hold("A")
    shortened = await api.done("extend", held["id"], {"ttl_seconds": 1})

    ended = await api.expired(held["id"])

    assert instant_ms(ended["ended_at"]) >= instant_ms(shortened["expires_at"])
    assert (await api.reserve(("A", 1))).status == 201
