"""Section 5: health, readiness, metrics, the API document and the conservation check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client.parser import text_string_to_metric_families

from gateway.embedded import PrivateRedis
from tests.acceptance.answers import CODES
from tests.acceptance.client import Client
from tests.acceptance.gateways import Gateway
from tests.acceptance.patience import until

# The calls of the contract that this version answers, as (method, path).
CALLS = {
    ("post", "/v1/reservations"),
    ("get", "/v1/reservations"),
    ("get", "/v1/reservations/{}"),
    ("delete", "/v1/reservations/{}"),
    ("post", "/v1/reservations/{}/extend"),
    ("post", "/v1/reservations/{}/confirm"),
    ("post", "/v1/reservations/{}/fulfil"),
    ("post", "/v1/reservations/{}/release"),
    ("post", "/v1/batch"),
    ("get", "/v1/stock"),
    ("get", "/v1/stock/{}"),
    ("post", "/v1/stock/query"),
    ("put", "/v1/stock/{}/{}"),
    ("post", "/v1/stock/{}/{}/adjust"),
    ("post", "/v1/stock/{}/pause"),
    ("post", "/v1/stock/{}/resume"),
    ("post", "/v1/stock/import"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/docs"),
    ("get", "/v1/admin/policy"),
    ("post", "/v1/admin/reload"),
    ("get", "/v1/admin/conservation"),
}


async def test_health_is_told_while_the_process_lives(api: Client) -> None:
    """200."""
    assert (await api.get("/healthz")).status == 200


async def test_readiness_names_its_four_checks(api: Client) -> None:
    """200 `ready` with redis, durable, shards and flusher; what is merely unwise is inside and stays 200."""
    answer = await api.get("/readyz")

    assert (answer.status, answer.body["status"]) == (200, "ready")
    assert set(answer.body["checks"]) >= {"redis", "durable", "shards", "flusher"}


async def test_metrics_are_prometheus_text(api: Client) -> None:
    """The parser of Prometheus' own client reads them, and counted requests grow."""

    async def total() -> float:
        answer = await api.get("/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain")
        families = list(text_string_to_metric_families(answer.text))
        assert families
        return sum(sample.value for one in families for sample in one.samples if "request" in one.name)

    before = await total()
    await api.stock_up("A", 1)
    after = await total()

    assert after > before


@pytest.mark.parametrize("gateway", ["embedded"], indirect=True)
async def test_api_document_is_valid_and_lists_every_call(api: Client) -> None:
    """OpenAPI 3.1; no call of the contract is missing, and none is listed that the gateway does not know."""
    document = (await api.get("/openapi.json")).body
    OpenAPIV31SpecValidator(document).validate()

    listed = set()
    for path, methods in document["paths"].items():
        parts = ["{}" if part.startswith("{") else part for part in path.split("/")]
        listed |= {(method, "/".join(parts)) for method in methods if method in {"get", "post", "put", "delete"}}
    assert document["openapi"].startswith("3.1")
    assert listed >= CALLS
    for method, path in listed:
        if path.startswith("/docs/"):
            continue  # a file of that name would have to exist
        answer = await api.call(method.upper(), path.replace("{}", "x"), raw=b"", content_type="text/plain")
        assert answer.code not in {"not_found", "method_not_allowed"}, (method, path)


@pytest.mark.parametrize("gateway", ["embedded"], indirect=True)
async def test_api_document_names_every_code(api: Client) -> None:
    """Each code that this version can answer stands in the document."""
    text = (await api.get("/openapi.json")).text

    missing = [code for code in CODES if code not in text]
    assert missing == []


@pytest.mark.parametrize("gateway", ["embedded"], indirect=True)
async def test_docs_are_a_page_without_foreign_parts(api: Client) -> None:
    """HTML that loads only what the gateway itself serves."""
    page = await api.get("/docs")

    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text


async def test_policy_tells_what_is_in_force(api: Client) -> None:
    """The tiers with their limits, where they come from, and a version."""
    policy = (await api.get("/v1/admin/policy")).body

    cart = {"ttl_seconds": 300, "ttl_seconds_max": 1800, "lifetime_seconds_max": 3600}
    assert policy["tiers"]["cart"] == cart
    assert set(policy["tiers"]) == {"cart", "checkout", "payment", "order", "blink", "fixed"}
    assert {"source", "version"} <= set(policy)


async def test_conservation_finds_nothing_after_every_kind_of_change(api: Client) -> None:
    """Holds, sales, releases, counts, adjusts, pauses and expiries: the law holds, and something was checked."""
    await api.stock_up("A", 50)
    holds = [(await api.hold("A", 2))["id"] for _ in range(4)]
    await api.done("confirm", holds[0])
    await api.done("confirm", holds[1], {"fulfil": True})
    await api.done("release", holds[2])
    await api.adjust("A", -3, "k")
    await api.put_level("A", source="wms", sequence=1, on_hand=44, reflects=[holds[0]])
    await api.post("/v1/stock/A/pause")

    answer = await api.get("/v1/admin/conservation")

    assert answer.status == 200
    assert answer.body["violations"] == []
    assert answer.body["checked"]


async def test_conservation_holds_while_buyers_are_busy(api: Client) -> None:
    """Asked in the middle of reserves, confirms and releases it reports no violation that is none."""
    await api.stock_up("A", 10_000)

    async def buyer(number: int) -> None:
        held = await api.hold("A")
        await api.act("confirm" if number % 2 else "release", held["id"], ack="memory")

    async def checks() -> list[object]:
        return [(await api.get("/v1/admin/conservation")).body["violations"] for _ in range(3)]

    found, *_ = await asyncio.gather(checks(), *[buyer(number) for number in range(200)])

    assert found == [[], [], []]


@pytest.fixture
async def on_own_redis(
    own_redis: PrivateRedis, new_gateway: Callable[..., Gateway], client_of: Callable[[Gateway], Client]
) -> Client:
    """A gateway whose Redis the test may end, impatient enough for a test."""
    running = new_gateway(GATEWAY_REDIS_URL=own_redis.url, GATEWAY_REDIS__COMMAND_TIMEOUT_MS="300")
    running.start()
    return client_of(running)


async def test_redis_that_ended_is_told_and_its_return_is_noticed(
    on_own_redis: Client, own_redis: PrivateRedis
) -> None:
    """503 with Retry-After and a truthful outcome, /readyz 503 naming redis, /healthz 200; then all is as before."""
    api = on_own_redis
    await api.stock_up("A", 5)
    held = await api.hold("A", 2, ack="durable")

    own_redis.stop()
    refused = [await api.reserve(("A", 1), key="k"), await api.act("confirm", held["id"])]
    ready = await api.session.get(f"{api.address}/readyz")
    checks = (await ready.json())["checks"]
    alive = await api.get("/healthz")
    listed = await api.get("/v1/reservations")
    own_redis.start()

    assert {answer.status for answer in refused} == {503}
    assert {answer.code for answer in refused} <= {"hot_store_unavailable", "shard_recovering"}
    assert (ready.status, alive.status) == (503, 200)
    assert checks["durable"]["ok"] is True
    assert checks["redis"]["ok"] is False
    assert [reservation["id"] for reservation in listed.body["reservations"]] == [held["id"]]

    async def is_back() -> bool:
        return (await api.reserve(("A", 1), key="k")).status == 201

    await until(is_back)
    assert (await api.reservation(held["id"]))["state"] == "held"
    assert await api.counters("A") == (5, 3, 0, 2)


async def test_request_that_waited_longer_than_its_deadline_is_not_applied(
    on_own_redis: Client, own_redis: PrivateRedis
) -> None:
    """Redis pauses for 200 ms: a request with 50 ms is 503 `overloaded` and not applied, one with 5 s is served."""
    import redis

    api = on_own_redis
    await api.stock_up("A", 5)
    with redis.Redis.from_url(own_redis.url) as client:
        client.execute_command("CLIENT", "PAUSE", "200", "ALL")
    body = {"lines": [{"sku": "A", "quantity": 1}]}

    late, early = await asyncio.gather(
        api.post("/v1/reservations", body, headers={"Request-Deadline-Ms": "50"}),
        api.post("/v1/reservations", body, headers={"Request-Deadline-Ms": "5000"}),
    )

    assert late.outcome == (503, "overloaded")
    assert early.status == 201
    await asyncio.sleep(0.3)
    assert await api.counters("A") == (5, 1, 0, 4)
