"""Section 5: health, readiness, metrics, the API document and the conservation check."""

from __future__ import annotations

import asyncio

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.answers import CODES
from tests.acceptance.client import Client
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
    await until(api.is_ready)  # a job that had no answer in time is told of until its next turn
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
