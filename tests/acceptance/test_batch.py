"""POST /v1/batch: many operations in one call, each answered as its own call would be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.aged import Aged
from tests.acceptance.answers import check_level, check_reservation
from tests.acceptance.client import Client


def reserve(sku: str, quantity: int = 1, **fields: Any) -> dict[str, Any]:
    """A reserve of one line."""
    return {"op": "reserve", "body": {"lines": [{"sku": sku, "quantity": quantity}]} | fields}


def adjust(sku: str, delta: Any, key: str | None, location: str = "main", **fields: Any) -> dict[str, Any]:
    """An adjust; its body also names sku and location."""
    body = {"sku": sku, "location": location, "delta": delta, "reason": "count"} | fields
    return {"op": "adjust", "body": body} | ({} if key is None else {"idempotency_key": key})


def outcomes(results: list[dict[str, Any]]) -> list[tuple[int, str | None]]:
    """Status and code of each result."""
    return [(result["status"], result["body"].get("code")) for result in results]


async def test_batch_answers_each_operation_as_its_own_call(api: Client) -> None:
    """Six kinds in one call, in order: status and body as the single calls answer."""
    await api.stock_up("A", 20)
    held = [(await api.hold("A"))["id"] for _ in range(4)]
    await api.done("confirm", held[2])

    results = await api.batch(
        reserve("A", 2, reference="r", customer="c", channel="web", ttl_seconds=60),
        {"op": "extend", "id": held[0], "body": {"tier": "checkout"}},
        {"op": "confirm", "id": held[1], "body": {"fulfil": True}},
        {"op": "fulfil", "id": held[2]},
        {"op": "release", "id": held[3], "body": {"reason": "changed their mind"}},
        adjust("A", 5, "k"),
    )

    assert [result["status"] for result in results] == [201, 200, 200, 200, 200, 200]
    for result in results[:5]:
        check_reservation(result["body"])
    check_level(results[5]["body"])
    states = [result["body"]["state"] for result in results[:5]]
    assert states == ["held", "held", "fulfilled", "fulfilled", "released"]
    assert [result["body"]["id"] for result in results[1:5]] == held
    new = results[0]["body"]
    assert (new["reference"], new["customer"], new["channel"], new["shop"]) == ("r", "c", "web", api.shop)
    assert (results[5]["body"]["on_hand"], results[5]["body"]["sku"]) == (23, "A")
    assert await api.counters("A") == (23, 3, 0, 20)
    for result in results[:5]:
        assert await api.reservation(result["body"]["id"]) == result["body"] | {"durable": True}


async def test_operations_on_one_sku_see_the_earlier_ones(api: Client) -> None:
    """The last unit: sold out, added to, reserved, given back, reserved again."""
    await api.stock_up("A", 1)
    first = (await api.hold("A"))["id"]

    results = await api.batch(
        reserve("A"),
        adjust("A", 1, "k"),
        reserve("A"),
        reserve("A"),
        {"op": "release", "id": first},
        reserve("A"),
        reserve("A"),
    )

    short = (409, "out_of_stock")
    assert outcomes(results) == [short, (200, None), (201, None), short, (200, None), (201, None), short]
    assert await api.counters("A") == (2, 2, 0, 0)


async def test_operations_on_one_reservation_see_the_earlier_ones(api: Client) -> None:
    """extend, confirm, extend, fulfil, confirm, release in one batch: each finds what the one before it left."""
    await api.stock_up("A", 5)
    held = (await api.hold("A", 2))["id"]

    results = await api.batch(
        *[
            {"op": operation, "id": held}
            for operation in ("extend", "confirm", "extend", "fulfil", "confirm", "release")
        ]
    )

    assert outcomes(results) == [
        (200, None),
        (200, None),
        (409, "reservation_confirmed"),
        (200, None),
        (200, None),
        (409, "reservation_fulfilled"),
    ]
    assert await api.counters("A") == (3, 0, 0, 3)


async def test_multi_line_operations_of_a_batch_are_all_or_nothing_each(api: Client) -> None:
    """A reserve that fails in the middle leaves its units to the one after it."""
    await api.stock_up("A", 3)
    await api.stock_up("B", 1)
    both = {"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}]}}

    results = await api.batch(both, both, reserve("A"), reserve("A"))

    assert [result["status"] for result in results] == [201, 409, 201, 409]
    assert [short["sku"] for short in results[1]["body"]["shortages"]] == ["A", "B"]


BAD: list[tuple[Any, tuple[int, str]]] = [
    ({"op": "sell", "body": {}}, (422, "invalid_request")),
    ({"op": "Reserve", "body": {}}, (422, "invalid_request")),
    ({"body": {}}, (422, "invalid_request")),
    ({"op": None}, (422, "invalid_request")),
    ({"op": "put", "body": {}}, (422, "invalid_request")),
    ({"op": "confirm"}, (422, "invalid_request")),
    ({"op": "confirm", "id": 7}, (422, "invalid_request")),
    ({"op": "confirm", "id": None}, (422, "invalid_request")),
    ({"op": "confirm", "id": "rsv_nonsense"}, (404, "reservation_not_found")),
    ({"op": "confirm", "id": "rsv_nonsense", "body": {"typo": 1}}, (422, "invalid_request")),
    ({"op": "confirm", "id": "rsv_nonsense", "body": []}, (422, "invalid_request")),
    ({"op": "reserve"}, (422, "invalid_request")),
    ({"op": "reserve", "body": None}, (422, "invalid_request")),
    ({"op": "reserve", "body": {"lines": []}}, (422, "invalid_request")),
    ({"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 1.0}]}}, (422, "invalid_request")),
    ({"op": "reserve", "body": {"lines": [{"sku": "X", "quantity": 1}]}}, (422, "unknown_sku")),
    ({"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 1}]}, "typo": 1}, (422, "invalid_request")),
    ({"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 99}]}}, (409, "out_of_stock")),
    (
        {"op": "adjust", "body": {"sku": "A", "location": "main", "delta": 1, "reason": "c"}},
        (400, "idempotency_key_required"),
    ),
    (adjust("A", 0, "k1"), (422, "invalid_request")),
    (adjust("A", -99, "k2"), (409, "insufficient_on_hand")),
    (adjust("X", 1, "k3"), (404, "sku_not_found")),
    ({"op": "adjust", "idempotency_key": "k4", "body": {"delta": 1, "reason": "c"}}, (422, "invalid_request")),
]


@pytest.mark.parametrize(("bad", "expected"), BAD)
async def test_bad_operation_is_its_own_results_refusal(api: Client, bad: Any, expected: tuple[int, str]) -> None:
    """The call is 200, the bad one is told at its place, those before and after it are applied."""
    await api.stock_up("A", 9)

    results = await api.batch(reserve("A"), bad, reserve("A"))

    assert outcomes(results) == [(201, None), expected, (201, None)]
    assert results[1]["body"]["outcome"] == "not_applied"
    assert await api.counters("A") == (9, 2, 0, 7)


async def test_bad_fields_of_an_operation_are_all_told(api: Client) -> None:
    """As in a single call, whatever stands before the names."""
    await api.stock_up("A", 9)
    body = {"lines": [{"sku": "A", "quantity": 0}, {"sku": "", "quantity": 1}], "tier": "gold"}

    result = (await api.batch({"op": "reserve", "body": body}))[0]

    fields = [error["field"] for error in result["body"]["errors"]]
    assert len(fields) == 3
    for name in ("lines[0].quantity", "lines[1].sku", "tier"):
        assert any(field.endswith(name) for field in fields), fields


async def test_duplicate_key_in_an_operations_body_is_its_own_results_refusal(api: Client) -> None:
    """An invalid body of one operation does not stop the others; only a malformed envelope fails the call."""
    await api.stock_up("A", 9)
    twice = b'{"op":"reserve","body":{"lines":[{"sku":"A","quantity":1,"quantity":2}]}}'
    plain = b'{"op":"reserve","body":{"lines":[{"sku":"A","quantity":1}]}}'

    answer = await api.post("/v1/batch", raw=b'{"operations":[' + twice + b"," + plain + b"]}")

    assert answer.status == 200, answer.text
    assert [result["status"] for result in answer.body["results"]] == [422, 201]
    assert answer.body["results"][0]["body"]["errors"][0]["field"] == "lines[0].quantity"
    assert (await api.stock("A"))["held"] == 1


@pytest.mark.parametrize("named", [b'"op":"release","op":"release","id":"x"', b'"op":"release","id":"x","id":"x"'])
async def test_duplicate_key_in_an_operation_is_its_own_results_refusal(api: Client, named: bytes) -> None:
    """The operation's own fields are no envelope: the one that was meant twice is refused, the next is applied."""
    await api.stock_up("A", 9)
    plain = b'{"op":"reserve","body":{"lines":[{"sku":"A","quantity":1}]}}'

    answer = await api.post("/v1/batch", raw=b'{"operations":[{' + named + b"}," + plain + b"]}")

    assert answer.status == 200, answer.text
    assert outcomes(answer.body["results"]) == [(422, "invalid_request"), (201, None)]


async def test_duplicate_key_in_the_envelope_fails_the_call(api: Client) -> None:
    """Two lists of operations: neither is guessed to be the one."""
    await api.stock_up("A", 9)
    plain = b'[{"op":"reserve","body":{"lines":[{"sku":"A","quantity":1}]}}]'

    answer = await api.post("/v1/batch", raw=b'{"operations":' + plain + b',"operations":' + plain + b"}")

    assert answer.outcome == (422, "invalid_request")
    assert answer.fields == ["operations"]
    assert await api.counters("A") == (9, 0, 0, 9)


@pytest.mark.parametrize(
    "envelope",
    [
        {},
        {"operations": None},
        {"operations": {}},
        {"operations": "reserve"},
        {"operations": []},
        {"operations": [reserve("A")] * 1001},
        {"operations": [reserve("A")], "typo": 1},
        [reserve("A")],
    ],
    ids=["empty", "null", "object", "text", "none", "1001", "unknown field", "array"],
)
async def test_malformed_envelope_fails_the_call(api: Client, envelope: Any) -> None:
    """422, no operation is applied."""
    await api.stock_up("A", 9)

    answer = await api.post("/v1/batch", envelope)

    assert answer.outcome == (422, "invalid_request")
    assert await api.counters("A") == (9, 0, 0, 9)


async def test_batch_of_1000_operations_is_applied(api: Client) -> None:
    """The largest batch: 1000 reserves of 900 units, exactly 900 are granted, in order."""
    await api.stock_up("A", 900)

    results = await api.batch(*[reserve("A", reference=f"r{number}") for number in range(1000)])

    assert [result["status"] for result in results] == [201] * 900 + [409] * 100
    assert [result["body"]["reference"] for result in results[:900]] == [f"r{number}" for number in range(900)]
    assert len({result["body"]["id"] for result in results[:900]}) == 900
    assert await api.counters("A") == (900, 900, 0, 0)


async def test_batch_over_many_skus_and_new_ones_is_in_order(api: Client) -> None:
    """Operations on skus that were never touched before are answered at their own place."""
    for number in range(40):
        await api.put_level(f"S{number}", source="erp", sequence=1, on_hand=1, ack="memory")

    results = await api.batch(*[reserve(f"S{number // 2}" if number < 80 else "nope") for number in range(82)])

    assert outcomes(results) == [(201, None), (409, "out_of_stock")] * 40 + [(422, "unknown_sku")] * 2


async def test_batch_reacquires_and_fulfils(api: Client, aged: Aged) -> None:
    """The options of confirm are those of the single call; the extra fields are there too."""
    client = api.for_shop(aged.shop)

    results = await client.batch(
        {"op": "confirm", "id": aged.id},
        {"op": "confirm", "id": aged.id, "body": {"if_expired": "reacquire"}},
        {"op": "fulfil", "id": aged.id},
    )

    assert outcomes(results) == [(409, "reservation_expired"), (200, None), (200, None)]
    assert results[1]["body"]["reacquired"] is True
    assert await client.counters("A") == (3, 0, 0, 3)


async def test_batch_partial_reserve_tells_its_shortages(api: Client) -> None:
    """allow_partial, locations and split work as in a single call."""
    await api.stock_up("A", 2, "berlin")
    await api.stock_up("A", 2, "paris")

    result = (await api.batch(reserve("A", 9, allow_partial=True, locations=["paris", "berlin"])))[0]

    assert result["status"] == 201
    assert [(line["location"], line["quantity"]) for line in result["body"]["lines"]] == [("paris", 2), ("berlin", 2)]
    assert [(s["requested"], s["available"]) for s in result["body"]["shortages"]] == [(9, 4)]


async def test_batch_works_on_the_shop_of_its_query(api: Client) -> None:
    """An operation may repeat it, and a reservation of another shop is not found."""
    other = api.for_shop(f"{api.shop}-b")
    await api.stock_up("A", 9)
    await other.stock_up("A", 9)
    foreign = (await other.hold("A"))["id"]

    results = await api.batch(reserve("A"), reserve("A", shop=api.shop), {"op": "release", "id": foreign})

    assert [result["body"].get("shop") for result in results[:2]] == [api.shop, api.shop]
    assert outcomes(results)[2] == (404, "reservation_not_found")
    assert (await other.stock("A"))["held"] == 1


async def test_operation_of_another_shop_is_answered_as_its_own_call(api: Client) -> None:
    """Reserve, keyed reserve, adjust and release in two shops, in one batch and in order; keys stay those of their shops."""
    other = api.for_shop(f"{api.shop}-b")
    await api.stock_up("A", 2)
    await other.stock_up("A", 7)
    foreign = (await other.hold("A"))["id"]

    results = await api.batch(
        reserve("A", 2, shop=other.shop) | {"idempotency_key": "k"},
        reserve("A") | {"idempotency_key": "k"},
        adjust("A", 5, "a", shop=other.shop),
        adjust("A", 1, "a"),
        {"op": "release", "id": foreign, "body": {"shop": other.shop}},
        reserve("A", 9, shop=other.shop),
        reserve("A", 9),
    )
    again = await other.reserve(("A", 2), key="k")

    short = (409, "out_of_stock")
    assert outcomes(results) == [(201, None), (201, None), *[(200, None)] * 3, (201, None), short]
    shops = [result["body"].get("shop") for result in results[:6]]
    assert shops == [other.shop, api.shop, other.shop, api.shop, other.shop, other.shop]
    assert (again.is_replayed, again.body["id"]) == (True, results[0]["body"]["id"])
    assert await other.counters("A") == (12, 11, 0, 1)
    assert await api.counters("A") == (3, 1, 0, 2)
