"""`/v1/batch`: each operation answered as its own call would be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain import errors as e
from gateway.domain.command import Adjust, Confirm, Extend, Fulfil, Release, Reserve
from gateway.web.auth import RESERVE, STOCK_WRITE, Principal
from gateway.web.shapes import BatchResults
from tests.web.conftest import Gateway, Reply

BODY = {"lines": [{"sku": "a", "quantity": 1}]}
ADJUST = {"sku": "a", "location": "main", "delta": 5, "reason": "count"}


async def run(gateway: Gateway, *operations: Any, path: str = "/v1/batch") -> Reply:
    """The answer to a batch of these operations."""
    return await gateway.post(path, {"operations": list(operations)})


async def test_batch_answers_every_operation_in_order(gateway: Gateway) -> None:
    """Good operations of every kind, with the statuses of their own calls."""
    ids = [(await gateway.reserve())["id"] for _ in range(3)]

    reply = await run(
        gateway,
        {"op": "reserve", "body": BODY | {"allow_partial": True}},
        {"op": "extend", "id": ids[0], "body": {"tier": "checkout"}},
        {"op": "confirm", "id": ids[0], "body": {"fulfil": False}},
        {"op": "fulfil", "id": ids[0]},
        {"op": "release", "id": ids[1], "body": {"reason": "late"}},
        {"op": "adjust", "idempotency_key": "k", "body": ADJUST},
    )

    assert reply.status == 200
    results = reply.body["results"]
    assert [result["status"] for result in results] == [201, 200, 200, 200, 200, 200]
    assert [result["body"].get("state") for result in results] == [
        "held",
        "fulfilled",
        "fulfilled",
        "fulfilled",
        "released",
        None,
    ]
    assert results[0]["body"]["shortages"] == []
    assert results[5]["body"]["on_hand"] == 15
    assert all("replayed" not in result for result in results)
    BatchResults.model_validate(reply.body)
    kinds = [type(command) for command in gateway.books.seen[-1][0]]
    assert kinds == [Reserve, Extend, Confirm, Fulfil, Release, Adjust]


async def test_batch_calls_the_service_once_with_the_good_ones(gateway: Gateway) -> None:
    """Bad operations do not reach the service, and do not keep the others from it."""
    reply = await run(gateway, {"op": "fly"}, {"op": "reserve", "body": BODY}, 7)

    assert [result["status"] for result in reply.body["results"]] == [422, 201, 422]
    assert [type(command) for command in gateway.books.seen[-1][0]] == [Reserve]
    assert len(gateway.books.seen) == 1


async def test_batch_of_bad_operations_alone_does_not_call_the_service(gateway: Gateway) -> None:
    """Nothing to do is not asked for."""
    reply = await run(gateway, {"op": "fly"})

    assert reply.status == 200
    assert gateway.books.seen == []


WRONG: list[tuple[Any, list[str]]] = [
    (3, ["body"]),
    ([], ["body"]),
    ({}, ["op"]),
    ({"op": "fly", "colour": 1}, ["colour", "op"]),
    ({"op": "reserve"}, ["lines"]),
    ({"op": "reserve", "body": []}, ["body"]),
    ({"op": "reserve", "id": "x", "body": BODY}, ["id"]),
    ({"op": "reserve", "body": BODY | {"tier": "gold", "x": 1}}, ["tier", "x"]),
    ({"op": "reserve", "body": BODY | {"ttl_seconds": 901}}, ["ttl_seconds"]),
    ({"op": "reserve", "idempotency_key": "a b", "body": {"lines": []}}, ["idempotency_key", "lines"]),
    ({"op": "reserve", "idempotency_key": 5, "body": BODY}, ["idempotency_key"]),
    ({"op": "reserve", "body": BODY | {"shop": "no such name"}}, ["shop"]),
    ({"op": "extend"}, ["id"]),
    ({"op": "extend", "id": ""}, ["id"]),
    ({"op": "extend", "id": "x", "body": {"ttl_seconds": 0, "tier": "gold"}}, ["tier", "ttl_seconds"]),
    ({"op": "confirm", "body": {"if_expired": "maybe"}}, ["id", "if_expired"]),
    ({"op": "fulfil", "id": "x", "body": {"reason": "y"}}, ["reason"]),
    ({"op": "release", "id": "x", "body": {"reason": ""}}, ["reason"]),
    ({"op": "adjust", "idempotency_key": "k"}, ["delta", "location", "reason", "sku"]),
    ({"op": "adjust", "idempotency_key": "k", "body": ADJUST | {"delta": 0}}, ["delta"]),
]


@pytest.mark.parametrize(("operation", "fields"), WRONG)
async def test_bad_operation_is_its_own_422_naming_every_field(
    gateway: Gateway, operation: Any, fields: list[str]
) -> None:
    """A bad operation is a result like any other, with the fields of its own call."""
    reply = await run(gateway, operation, {"op": "reserve", "body": BODY})

    bad, good = reply.body["results"]
    assert (bad["status"], bad["body"]["status"], bad["body"]["code"]) == (422, 422, "invalid_request")
    assert sorted(error["field"] for error in bad["body"]["errors"]) == fields
    assert bad["body"]["request_id"] == reply.headers["X-Request-Id"]
    assert good["status"] == 201


TWICE: list[tuple[str, list[str]]] = [
    ('{"op":"reserve","body":{"lines":[{"sku":"a","quantity":1,"quantity":2}]}}', ["lines[0].quantity"]),
    ('{"op":"reserve","body":{"lines":[{"sku":"a","quantity":1}],"tier":"cart","tier":"cart"}}', ["tier"]),
    ('{"op":"reserve","op":"reserve","body":{"lines":[{"sku":"a","quantity":1}]}}', ["op"]),
    ('{"op":"release","id":"x","id":"x"}', ["id"]),
    ('{"op":"reserve","body":{},"body":{"lines":[{"sku":"a","quantity":1}]}}', ["body"]),
    ('{"op":"reserve","body":{"lines":[{"sku":"a","sku":"a","quantity":0}]}}', ["lines[0].quantity", "lines[0].sku"]),
    ('{"op":"fly","op":"fly","op":"fly"}', ["op", "op"]),
    ('[{"op":"reserve","op":"reserve"}]', ["[0].op", "body"]),
]


@pytest.mark.parametrize(("operation", "fields"), TWICE)
async def test_key_twice_within_an_operation_is_its_own_422(
    gateway: Gateway, operation: str, fields: list[str]
) -> None:
    """Named as its own call would name it; the operations beside it are applied."""
    good = json.dumps({"op": "reserve", "body": BODY})
    raw = f'{{"operations":[{good},{operation},{good}]}}'

    reply = await gateway.ask("POST", "/v1/batch", data=raw, headers={"Content-Type": "application/json"})

    assert reply.status == 200, reply.raw
    first, bad, last = reply.body["results"]
    assert (first["status"], bad["status"], last["status"]) == (201, 422, 201)
    assert bad["body"]["code"] == "invalid_request"
    assert sorted(error["field"] for error in bad["body"]["errors"]) == fields


async def test_key_twice_in_every_one_of_many_operations_is_told_of_each(gateway: Gateway) -> None:
    """However many there are, none with a key given twice slips through behind a bound."""
    bad = '{"op":"reserve","body":{"lines":[{"sku":"a","quantity":1,"quantity":1}]}}'
    raw = f'{{"operations":[{",".join([bad] * 300)}]}}'

    reply = await gateway.ask("POST", "/v1/batch", data=raw, headers={"Content-Type": "application/json"})

    assert {result["status"] for result in reply.body["results"]} == {422}
    assert gateway.books.seen == []


@pytest.mark.parametrize(
    ("envelope", "field"),
    [
        ('{"operations":[{"op":"reserve","body":%s}],"operations":[{"op":"reserve","body":%s}]}', "operations"),
        ('{"shop":"main","shop":"main","operations":[{"op":"reserve","body":%s},{"op":"reserve","body":%s}]}', "shop"),
    ],
)
async def test_key_twice_in_the_envelope_fails_the_call(gateway: Gateway, envelope: str, field: str) -> None:
    """Nobody knows which of the two was meant, and so nothing is applied."""
    raw = envelope % (json.dumps(BODY), json.dumps(BODY))

    reply = await gateway.ask("POST", "/v1/batch", data=raw, headers={"Content-Type": "application/json"})

    assert (reply.status, reply.fields) == (422, [field])
    assert gateway.books.seen == []


async def test_adjust_without_a_key_is_its_own_400(gateway: Gateway) -> None:
    """As the single call: a missing key comes before a wrong body."""
    reply = await run(gateway, {"op": "adjust", "body": {}})

    [result] = reply.body["results"]
    assert (result["status"], result["body"]["code"]) == (400, "idempotency_key_required")


async def test_refusals_of_the_service_are_results(gateway: Gateway) -> None:
    """409, 404 and 503 stand in their places, with what the errors carry."""
    held = await gateway.reserve("a", 9)

    reply = await run(
        gateway,
        {"op": "reserve", "body": {"lines": [{"sku": "a", "quantity": 5}]}},
        {"op": "confirm", "id": "rsv_0-1-1-AAAAAAAAAAAAAAAA"},
        {"op": "release", "id": held["id"]},
        {"op": "reserve", "body": {"lines": [{"sku": "a", "quantity": 5}]}},
    )

    results = reply.body["results"]
    assert [result["status"] for result in results] == [409, 404, 200, 201]
    assert results[0]["body"]["shortages"][0]["available"] == 1
    assert results[0]["body"]["outcome"] == "not_applied"


@pytest.mark.parametrize(
    ("error", "is_later"),
    [(e.ShardHalted(), True), (e.RateLimited(), True), (e.OutOfStock(shortages=[]), False)],
    ids=lambda each: getattr(each, "code", None),
)
async def test_result_that_says_later_says_when(gateway: Gateway, error: e.GatewayError, is_later: bool) -> None:
    """A result has no header of its own: what `Retry-After` tells for a single call stands in its problem, and in no other's."""
    gateway.books.failures_of_operations.append(error)

    reply = await run(gateway, {"op": "reserve", "body": BODY}, {"op": "reserve", "body": BODY})

    told, good = reply.body["results"]
    assert (told["body"]["code"], good["status"]) == (error.code, 201)
    least = getattr(error, "retry_after_seconds", 1)
    if is_later:
        assert least <= told["body"]["retry_after_seconds"] <= 2 * least
    assert ("retry_after_seconds" in told["body"]) == is_later
    BatchResults.model_validate(reply.body)


async def test_replays_are_marked_within_their_results(gateway: Gateway) -> None:
    """A key is known in single calls and in batches alike, for reserve and for adjust."""
    single = await gateway.post("/v1/reservations", BODY, Idempotency_Key="r")
    moved = await gateway.post("/v1/stock/a/main/adjust", {"delta": 5, "reason": "count"}, Idempotency_Key="d")

    reply = await run(
        gateway,
        {"op": "reserve", "idempotency_key": "r", "body": BODY},
        {"op": "adjust", "idempotency_key": "d", "body": ADJUST},
        {"op": "adjust", "idempotency_key": "d", "body": ADJUST | {"delta": 6}},
    )

    held, known, other = reply.body["results"]
    assert (held["status"], held["replayed"], held["body"]["id"]) == (201, True, single.body["id"])
    assert (known["status"], known["replayed"], known["body"]["on_hand"]) == (200, True, moved.body["on_hand"])
    assert (other["status"], other["body"]["code"]) == (422, "idempotency_key_reused")
    BatchResults.model_validate(reply.body)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["operations"]),
        ({"operations": []}, ["operations"]),
        ({"operations": {}}, ["operations"]),
        ({"operations": [{"op": "fulfil"}] * 1001}, ["operations"]),
        ({"operations": [{"op": "fulfil"}], "x": 1}, ["x"]),
    ],
)
async def test_malformed_envelope_fails_the_call(gateway: Gateway, body: Any, fields: list[str]) -> None:
    """Only the envelope fails the call as a whole."""
    reply = await gateway.post("/v1/batch", body)

    assert (reply.status, reply.fields) == (422, fields)


async def test_ack_and_shop_hold_for_all_operations(gateway: Gateway) -> None:
    """The call's circumstances are those of each operation; without `ack` each takes its own default."""
    gateway.books.put("a", on_hand=3, shop="north")

    asked = await run(
        gateway, {"op": "reserve", "body": BODY | {"shop": "north"}}, path="/v1/batch?ack=durable&shop=north"
    )
    call = gateway.books.seen[-1][1]
    await run(gateway, {"op": "reserve", "body": BODY})

    assert asked.body["results"][0]["body"]["shop"] == "north"
    assert (call.ack, call.shop) == ("durable", "north")
    assert gateway.books.seen[-1][1].ack is None


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/batch?shop=main"])
async def test_operation_may_name_a_shop_of_its_own(gateway: Gateway, path: str) -> None:
    """As its own call would: the batch's shop is that of the operations that name none."""
    gateway.books.put("a", on_hand=3, shop="north")

    reply = await run(
        gateway,
        {"op": "reserve", "body": BODY | {"shop": "north"}},
        {"op": "reserve", "idempotency_key": "k", "body": BODY | {"shop": "north"}},
        {"op": "adjust", "idempotency_key": "k", "body": ADJUST | {"shop": "north"}},
        {"op": "reserve", "body": BODY},
        path=path,
    )
    single = await gateway.post("/v1/reservations", BODY | {"shop": "north"}, Idempotency_Key="k")

    results = reply.body["results"]
    assert [result["status"] for result in results] == [201, 201, 200, 201]
    assert [result["body"]["shop"] for result in results] == ["north", "north", "north", "main"]
    assert len(gateway.books.seen) == 2, "one call of the service for the batch, whatever its shops"
    assert (single.headers["Idempotent-Replayed"], single.body["id"]) == ("true", results[1]["body"]["id"])


async def test_key_of_one_shop_is_forbidden_the_operations_of_another(gateway: Gateway) -> None:
    """403 of that operation, before anything else that is wrong with it; the others are applied."""
    gateway.books.put("a", on_hand=3, shop="north")
    gateway.site.authenticate = lambda _header: Principal("key:north", "north", frozenset({RESERVE, STOCK_WRITE}))

    reply = await run(
        gateway,
        {"op": "reserve", "body": BODY | {"shop": "main", "colour": 1}},
        {"op": "reserve", "body": BODY | {"shop": "north"}},
        {"op": "adjust", "body": ADJUST | {"shop": "main"}},
        {"op": "reserve", "body": BODY},
    )

    results = reply.body["results"]
    assert [result["status"] for result in results] == [403, 201, 403, 201]
    assert {result["body"]["code"] for result in results[::2]} == {"forbidden"}
    assert {result["body"]["shop"] for result in results[1::2]} == {"north"}


async def test_failure_of_the_whole_batch_fails_the_call(gateway: Gateway) -> None:
    """Where nothing can be asked at all, the call is the problem."""
    gateway.books.failures.append(e.HotStoreUnavailable())

    reply = await run(gateway, {"op": "reserve", "body": BODY})

    assert (reply.status, reply.body["code"]) == (503, "hot_store_unavailable")


async def test_adjust_needs_its_own_scope(gateway: Gateway) -> None:
    """A key that may reserve does not thereby change stock."""
    gateway.site.authenticate = lambda _header: Principal("key:checkout", None, frozenset({RESERVE}))

    reply = await run(
        gateway, {"op": "adjust", "idempotency_key": "k", "body": ADJUST}, {"op": "reserve", "body": BODY}
    )

    assert [result["status"] for result in reply.body["results"]] == [403, 201]
