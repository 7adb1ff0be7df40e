"""One Idempotency-Key, one effect: in single calls and batches, per shop and operation, whatever is repeated."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.acceptance.client import Client

VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F))


def reserve_op(key: str | None, quantity: int = 1, **fields: Any) -> dict[str, Any]:
    """A reserve of sku `A` in a batch."""
    operation = {"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": quantity}]} | fields}
    return operation if key is None else operation | {"idempotency_key": key}


def adjust_op(key: str, delta: int, sku: str = "A", location: str = "main") -> dict[str, Any]:
    """An adjust in a batch, with the same content as `Client.adjust`."""
    body = {"sku": sku, "location": location, "delta": delta, "reason": "count"}
    return {"op": "adjust", "idempotency_key": key, "body": body}


async def test_same_key_and_body_answers_the_first_reservation(api: Client) -> None:
    """The same status and id, flagged as replayed; the units are held once."""
    await api.stock_up("A", 5)

    first = await api.reserve(("A", 2), key="k")
    again = await api.reserve(("A", 2), key="k")

    assert (first.status, again.status) == (201, 201)
    assert (first.is_replayed, again.is_replayed) == (False, True)
    assert again.body | {"durable": True} == first.body | {"durable": True}
    assert again.headers["Location"] == first.headers["Location"]
    assert await api.counters("A") == (5, 2, 0, 3)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"reference":"r\xc3\xa9","lines":[{"quantity":2,"sku":"A"}]}',
        b' {\n "lines" : [ {"sku": "\\u0041", "quantity": 2} ],\t"reference": "r\\u00e9" }\r\n',
        b'{"l\\u0069nes":[{"sku":"A","quantity":2}],"reference":"r\\u00E9"}',
    ],
)
async def test_body_that_is_equal_after_parsing_is_the_same_body(api: Client, raw: bytes) -> None:
    """Order of fields, white space and escapes do not matter."""
    await api.stock_up("A", 5)
    first = await api.reserve(("A", 2), reference="ré", key="k")

    again = await api.post("/v1/reservations", raw=raw, key="k")

    assert again.is_replayed
    assert again.body["id"] == first.body["id"]


@pytest.mark.parametrize(
    "other",
    [
        {"lines": [{"sku": "A", "quantity": 3}]},
        {"lines": [{"sku": "B", "quantity": 2}]},
        {"lines": [{"sku": "A", "quantity": 2}], "reference": "r"},
        {"lines": [{"sku": "A", "quantity": 2}], "ttl_seconds": 60},
        {"lines": [{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 1}]},
        {"lines": [{"sku": "A", "quantity": 2, "location": "main"}]},
    ],
)
async def test_same_key_with_another_body_is_refused(api: Client, other: dict[str, Any]) -> None:
    """422 `idempotency_key_reused`; nothing is held and the first reservation stays what the key means."""
    await api.stock_up("A", 9)
    await api.stock_up("B", 9)
    first = await api.reserve(("A", 2), key="k")

    reused = await api.post("/v1/reservations", other, key="k")
    again = await api.reserve(("A", 2), key="k")

    assert reused.outcome == (422, "idempotency_key_reused")
    assert not reused.is_replayed
    assert again.body["id"] == first.body["id"]
    assert [(await api.stock(sku))["held"] for sku in "AB"] == [2, 0]


async def test_replay_shows_the_reservation_as_it_is_now(api: Client) -> None:
    """The same 201 and id; the state is today's: confirmed, fulfilled."""
    await api.stock_up("A", 5)
    first = await api.reserve(("A", 2), key="k")

    for operation, state in (("confirm", "confirmed"), ("fulfil", "fulfilled")):
        await api.done(operation, first.body["id"])
        again = await api.reserve(("A", 2), key="k")

        assert again.is_replayed
        assert (again.status, again.body["id"], again.body["state"]) == (201, first.body["id"], state)
        assert again.body == await api.reservation(first.body["id"])


async def test_replay_after_a_release_holds_nothing_again(api: Client) -> None:
    """A released reservation stays what its key means; its units are free."""
    await api.stock_up("A", 5)
    first = await api.reserve(("A", 2), key="k")
    await api.done("release", first.body["id"])

    again = await api.reserve(("A", 2), key="k")

    assert (again.status, again.is_replayed, again.body["state"]) == (201, True, "released")
    assert await api.counters("A") == (5, 0, 0, 5)


async def test_replay_after_the_deadline_reads_expired(api: Client) -> None:
    """A retry that comes too late learns so; nothing is held for it again."""
    await api.stock_up("A", 5)
    first = await api.reserve(("A", 2), ttl_seconds=1, key="k")
    await api.expired(first.body["id"])

    again = await api.reserve(("A", 2), ttl_seconds=1, key="k")

    assert (again.status, again.is_replayed, again.body["state"]) == (201, True, "expired")
    assert again.body["id"] == first.body["id"]
    assert await api.counters("A") == (5, 0, 0, 5)


async def test_replay_with_ack_durable_waits_for_the_commit(api: Client) -> None:
    """The same request may ask for more certainty the second time."""
    await api.stock_up("A", 5)
    first = await api.reserve(("A", 2), key="k", ack="memory")

    again = await api.reserve(("A", 2), key="k", ack="durable")

    assert (again.is_replayed, again.body["id"], again.body["durable"]) == (True, first.body["id"], True)


async def test_refusal_is_not_remembered(api: Client) -> None:
    """After a 409 the same key is judged afresh: with more stock it is granted."""
    await api.stock_up("A", 1)
    refused = await api.reserve(("A", 2), key="k")
    still = await api.reserve(("A", 2), key="k")
    await api.stock_up("A", 5)

    granted = await api.reserve(("A", 2), key="k")

    assert refused.outcome == still.outcome == (409, "out_of_stock")
    assert (granted.status, granted.is_replayed) == (201, False)
    assert (await api.stock("A"))["held"] == 2


async def test_refusal_does_not_bind_the_key_to_its_body(api: Client) -> None:
    """After a 409 or a 422 the key may come with another body."""
    await api.stock_up("A", 1)
    await api.reserve(("A", 2), key="k")
    await api.reserve(("A", 0), key="k")
    await api.reserve(("X", 1), key="k")

    granted = await api.reserve(("A", 1), key="k")

    assert (granted.status, granted.is_replayed) == (201, False)


async def test_key_belongs_to_one_shop(api: Client) -> None:
    """The same key in another shop is another request."""
    other = api.for_shop(f"{api.shop}-b")
    await api.stock_up("A", 5)
    await other.stock_up("A", 5)

    first = await api.reserve(("A", 1), key="k")
    second = await other.reserve(("A", 2), key="k")

    assert (first.status, second.status, second.is_replayed) == (201, 201, False)
    assert first.body["id"] != second.body["id"]


async def test_key_belongs_to_one_operation(api: Client) -> None:
    """The same key on reserve and on adjust means two requests."""
    await api.stock_up("A", 5)

    reserved = await api.reserve(("A", 1), key="k")
    adjusted = await api.adjust("A", 3, "k")

    assert (reserved.status, adjusted.status, adjusted.is_replayed) == (201, 200, False)
    assert await api.counters("A") == (8, 1, 0, 7)


@pytest.mark.parametrize("key", ["k", "x" * 255, VISIBLE, "0", '"quoted"', "a,b;c=d"])
async def test_key_of_visible_ascii_is_taken(api: Client, key: str) -> None:
    """1..255 visible ASCII characters, each of them."""
    await api.stock_up("A", 5)

    first = await api.reserve(("A", 1), key=key)
    again = await api.reserve(("A", 1), key=key)

    assert (first.status, again.is_replayed) == (201, True)


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\tb", "é", "k\u00a0"])
async def test_bad_key_is_refused(api: Client, key: str) -> None:
    """Empty, too long, with spaces or beyond ASCII: 422, nothing held, nothing adjusted."""
    await api.stock_up("A", 5)

    reserved = await api.reserve(("A", 1), key=key)
    adjusted = await api.adjust("A", 1, key)

    assert reserved.outcome == (422, "invalid_request")
    assert adjusted.status in {400, 422}  # an empty key may as well count as none
    assert await api.counters("A") == (5, 0, 0, 5)


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é", 7, True])
async def test_bad_key_in_a_batch_is_that_results_refusal(api: Client, key: Any) -> None:
    """The same rule for `idempotency_key`; the other operations stand."""
    await api.stock_up("A", 5)

    bad, good = await api.batch(reserve_op(None) | {"idempotency_key": key}, reserve_op("k"))

    assert (bad["status"], bad["body"]["code"]) == (422, "invalid_request")
    assert good["status"] == 201


async def test_adjust_without_a_key_is_refused(api: Client) -> None:
    """The key is required there: 400, nothing changed."""
    await api.stock_up("A", 5)

    answer = await api.adjust("A", 1, None)

    assert answer.outcome == (400, "idempotency_key_required")
    assert await api.counters("A") == (5, 0, 0, 5)


async def test_adjust_replayed_counts_once(api: Client) -> None:
    """The same key and body: 200 again, flagged, one effect."""
    await api.stock_up("A", 5)

    first = await api.adjust("A", -2, "k")
    again = await api.adjust("A", -2, "k")

    assert (first.status, again.status) == (200, 200)
    assert (first.is_replayed, again.is_replayed) == (False, True)
    assert again.body["on_hand"] == 3
    assert await api.counters("A") == (3, 0, 0, 3)


async def test_adjust_replayed_with_another_body_is_refused(api: Client) -> None:
    """Another delta, another reason, another sku or location under the same key: 422, nothing changed."""
    await api.stock_up("A", 5)
    await api.stock_up("A", 5, "berlin")
    await api.stock_up("B", 5)
    await api.adjust("A", -2, "k")

    answers = [
        await api.adjust("A", -1, "k"),
        await api.adjust("A", -2, "k", reason="theft"),
        await api.adjust("A", -2, "k", reference="r"),
        await api.adjust("A", -2, "k", "berlin"),
        await api.adjust("B", -2, "k"),
    ]

    assert [answer.outcome for answer in answers] == [(422, "idempotency_key_reused")] * 5
    assert [await api.counters("A"), await api.counters("A", "berlin"), await api.counters("B")] == [
        (3, 0, 0, 3),
        (5, 0, 0, 5),
        (5, 0, 0, 5),
    ]


async def test_adjust_that_was_refused_is_not_remembered(api: Client) -> None:
    """`insufficient_on_hand`, then more units: the same key is applied."""
    await api.stock_up("A", 1)
    refused = await api.adjust("A", -2, "k")
    await api.stock_up("A", 5)

    granted = await api.adjust("A", -2, "k")

    assert refused.outcome == (409, "insufficient_on_hand")
    assert (granted.status, granted.is_replayed, granted.body["on_hand"]) == (200, False, 3)


async def test_key_of_a_single_call_is_known_in_a_batch(api: Client) -> None:
    """The scope is the same in single calls and batches, for reserve and for adjust, in both directions."""
    await api.stock_up("A", 9)
    single = await api.reserve(("A", 1), key="one")
    await api.adjust("A", 1, "one")

    results = await api.batch(reserve_op("one"), adjust_op("one", 1), reserve_op("two", 2), adjust_op("two", 2))
    reserved = await api.reserve(("A", 2), key="two")
    adjusted = await api.adjust("A", 2, "two")

    assert [result.get("replayed", False) for result in results] == [True, True, False, False]
    assert [result["status"] for result in results] == [201, 200, 201, 200]
    assert results[0]["body"]["id"] == single.body["id"]
    assert (reserved.is_replayed, reserved.body["id"]) == (True, results[2]["body"]["id"])
    assert adjusted.is_replayed
    assert await api.counters("A") == (12, 3, 0, 9)


async def test_key_twice_in_one_batch_is_one_reservation(api: Client) -> None:
    """The second of two equal operations is a replay of the first, a differing third is refused."""
    await api.stock_up("A", 9)

    results = await api.batch(
        reserve_op("k"), reserve_op("k"), reserve_op("k", 2), adjust_op("k", 1), adjust_op("k", 1)
    )

    assert [(r["status"], r.get("replayed", False)) for r in results] == [
        (201, False),
        (201, True),
        (422, False),
        (200, False),
        (200, True),
    ]
    assert results[2]["body"]["code"] == "idempotency_key_reused"
    assert results[0]["body"]["id"] == results[1]["body"]["id"]
    assert await api.counters("A") == (10, 1, 0, 9)


async def test_refused_operation_of_a_batch_is_not_remembered(api: Client) -> None:
    """A 409 in a batch leaves the key free, even for a later operation of the same batch."""
    await api.stock_up("A", 1)

    results = await api.batch(reserve_op("k", 2), adjust_op("more", 5), reserve_op("k", 2))

    assert [(r["status"], r.get("replayed", False)) for r in results] == [(409, False), (200, False), (201, False)]


async def test_hundred_calls_with_one_key_at_once_are_one_reservation(api: Client) -> None:
    """All answers are 201 and equal, exactly one of them is not a replay, the units are held once."""
    await api.stock_up("A", 500)

    answers = await asyncio.gather(*[api.reserve(("A", 3), key="k", reference="r") for _ in range(100)])

    assert {answer.status for answer in answers} == {201}
    assert [answer.is_replayed for answer in answers].count(False) == 1
    bodies = [answer.body | {"durable": None} for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert await api.counters("A") == (500, 3, 0, 497)


async def test_two_bodies_race_for_one_key_and_one_wins(api: Client) -> None:
    """50 times each of two bodies under one key: one reservation, every call of the other body is refused."""
    await api.stock_up("A", 500)

    answers = await asyncio.gather(*[api.reserve(("A", 1 + turn % 2), key="k") for turn in range(100)])

    granted = [answer for answer in answers if answer.status == 201]
    refused = [answer for answer in answers if answer.status != 201]
    assert (len(granted), len(refused)) == (50, 50)
    assert len({answer.body["id"] for answer in granted}) == 1
    assert {answer.code for answer in refused} == {"idempotency_key_reused"}
    assert (await api.stock("A"))["held"] == granted[0].body["lines"][0]["quantity"]


async def test_hundred_adjusts_with_one_key_at_once_count_once(api: Client) -> None:
    """Single calls and batches together."""
    await api.stock_up("A", 5)

    singles = [api.adjust("A", 7, "k") for _ in range(50)]
    batches = [api.batch(adjust_op("k", 7), adjust_op("k", 7)) for _ in range(25)]
    await asyncio.gather(*singles, *batches)

    assert await api.counters("A") == (12, 0, 0, 12)
