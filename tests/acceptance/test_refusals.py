"""The order in which a request is refused, and the shape that every refusal has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.client import Client

# What the edge refuses does not depend on the stores behind it.
pytestmark = pytest.mark.parametrize("gateway", ["embedded"], indirect=True, scope="session")

BIG = b"{" + b" " * 1_048_576
LINES = {"lines": [{"sku": "A", "quantity": 1}]}


async def test_unknown_path_comes_first(api: Client) -> None:
    """404 whatever the method, the type and the body."""
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        answer = await api.call(method, "/v1/nothing", raw=b"{", content_type="text/plain")
        assert answer.outcome == (404, "not_found"), method


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/reservations", "/v1/reservations/a/b/c", "/V1/stock", "/v1/stocks"])
async def test_path_that_does_not_exist_is_a_problem_too(api: Client, path: str) -> None:
    """404 `not_found`, with everything a problem has; `/` may be a page."""
    answer = await api.get(path)

    assert answer.outcome == (404, "not_found") or (path == "/" and answer.status < 400)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/reservations"),
        ("PATCH", "/v1/reservations/rsv_1"),
        ("GET", "/v1/reservations/rsv_1/confirm"),
        ("DELETE", "/v1/reservations/rsv_1/extend"),
        ("GET", "/v1/batch"),
        ("POST", "/v1/stock/A"),
        ("PATCH", "/v1/stock/A/main"),
        ("GET", "/v1/stock/A/main/adjust"),
        ("GET", "/v1/admin/reload"),
        ("POST", "/v1/admin/policy"),
        ("POST", "/healthz"),
        ("DELETE", "/openapi.json"),
    ],
)
async def test_unknown_method_comes_before_type_and_body(api: Client, method: str, path: str) -> None:
    """405 with the methods that exist in `Allow`, also for a body that is too large, of another type and no JSON."""
    answer = await api.call(method, path, raw=BIG, content_type="text/plain")

    assert answer.outcome == (405, "method_not_allowed")
    assert answer.headers["Allow"]
    assert method not in answer.headers["Allow"].replace(" ", "").split(",")


async def test_size_comes_before_type_and_json(api: Client) -> None:
    """413 for a large body of another type that is no JSON."""
    answer = await api.post("/v1/reservations", raw=BIG, content_type="text/plain")

    assert answer.outcome == (413, "body_too_large")


async def test_type_comes_before_json(api: Client) -> None:
    """415 for a body that is no JSON either."""
    answer = await api.post("/v1/reservations", raw=b"{", content_type="text/plain")

    assert answer.outcome == (415, "unsupported_media_type")


async def test_json_comes_before_fields_and_keys(api: Client) -> None:
    """400 for a malformed body under a bad key, with a bad `ack` and a bad shop."""
    answer = await api.for_shop("no good").post("/v1/reservations", raw=b"{", key="a b", ack="disk")

    assert answer.outcome == (400, "malformed_json")


async def test_missing_key_comes_before_fields(api: Client) -> None:
    """400 `idempotency_key_required` for an adjust that is invalid as well."""
    await api.stock_up("A", 1)

    answer = await api.adjust("A", 0, None, typo=1)

    assert answer.outcome == (400, "idempotency_key_required")


async def test_fields_come_before_the_state_of_the_world(api: Client) -> None:
    """422 where the state would have refused as well: sold out, confirmed, stale, another version."""
    await api.stock_up("A", 1)
    held = await api.hold("A")
    await api.done("confirm", held["id"])

    answers = [
        await api.reserve(("A", 5), typo=1),
        await api.act("extend", held["id"], {"tier": "gold"}),
        await api.put_level("A", source="setup", sequence=1, on_hand=-1),
        await api.put_level("A", source="setup", sequence=5, on_hand=-1, headers={"If-Match": "999"}),
        await api.adjust("A", 0, "k"),
    ]

    assert [answer.outcome for answer in answers] == [(422, "invalid_request")] * 5


async def test_reused_key_comes_before_the_state_of_the_world(api: Client) -> None:
    """422 `idempotency_key_reused` although the units would not suffice either."""
    await api.stock_up("A", 1)
    await api.reserve(("A", 1), key="k")

    answer = await api.reserve(("A", 9), key="k")

    assert answer.outcome == (422, "idempotency_key_reused")


async def test_unknown_sku_comes_before_a_shortage(api: Client) -> None:
    """422 before 409."""
    await api.stock_up("A", 1)

    answer = await api.reserve(("A", 9), ("X", 1))

    assert answer.outcome == (422, "unknown_sku")


async def test_problem_type_leads_to_the_docs_of_its_code(api: Client) -> None:
    """`type` is the address of a page that exists and has the code as an anchor."""
    answer = await api.reserve(("X", 1))

    page, _, anchor = answer.body["type"].partition("#")
    found = await api.get(page.removeprefix(api.address))
    assert (found.status, anchor) == (200, "unknown_sku")
    assert 'id="unknown_sku"' in found.text
    assert 'id="durability_unknown"' in found.text


@pytest.mark.parametrize("request_id", ["r-1", "x" * 64, "4bf92f3577b34da6a3ce929d0e0e4736"])
async def test_request_id_is_echoed(api: Client, request_id: str) -> None:
    """In the header of every answer and in the body of every problem, also of a batch's."""
    headers = {"X-Request-Id": request_id}

    answers = [
        await api.call("GET", "/healthz", headers=headers),
        await api.call("GET", "/v1/stock/X", headers=headers),
        await api.call("GET", "/nowhere", headers=headers),
        await api.call("PATCH", "/v1/stock", headers=headers),
        await api.post("/v1/reservations", raw=BIG, headers=headers),
    ]
    batch = await api.batch({"op": "confirm", "id": "rsv_x"}, headers=headers)

    assert [answer.headers["X-Request-Id"] for answer in answers] == [request_id] * 5
    assert [answer.body["request_id"] for answer in answers[1:]] == [request_id] * 4
    assert batch[0]["body"]["request_id"] == request_id


async def test_request_id_is_made_where_there_is_none(api: Client) -> None:
    """Each request has one of its own."""
    made = {(await api.get("/healthz")).headers["X-Request-Id"] for _ in range(10)}

    assert len(made) == 10


@pytest.mark.parametrize("request_id", ["", "x" * 5000, "a b", "é", "<script>", '{"a":1}'])
async def test_strange_request_id_does_no_harm(api: Client, request_id: str) -> None:
    """Taken or replaced, the answer has one and the request is served."""
    answer = await api.call("GET", "/healthz", headers={"X-Request-Id": request_id})

    assert answer.status == 200
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize("deadline", ["1000", "60000"])
async def test_request_in_time_is_applied(api: Client, deadline: str) -> None:
    """A deadline that is not reached changes nothing."""
    await api.stock_up("A", 1)

    answer = await api.post("/v1/reservations", LINES, headers={"Request-Deadline-Ms": deadline})

    assert answer.status == 201


@pytest.mark.parametrize("deadline", ["0", "60001", "-1", "1.5", "soon", "", "1e3", "9" * 40])
async def test_bad_deadline_is_refused(api: Client, deadline: str) -> None:
    """1..60000, else 422 and nothing is applied."""
    await api.stock_up("A", 1)

    answer = await api.post("/v1/reservations", LINES, headers={"Request-Deadline-Ms": deadline})

    assert answer.outcome == (422, "invalid_request")
    assert await api.counters("A") == (1, 0, 0, 1)


@pytest.mark.parametrize(
    "fields", [{"nope": 1}, {"limit": "x"}, {"limit": 0}, {"limit": -1}, {"state": "sold"}, {"cursor": "nonsense"}]
)
async def test_bad_query_of_a_listing_is_refused(api: Client, fields: dict[str, Any]) -> None:
    """Unknown parameters and wrong values are named, as fields of a body are."""
    answer = await api.get("/v1/reservations", **fields)

    assert answer.outcome == (422, "invalid_request")
    assert answer.fields == list(fields)
