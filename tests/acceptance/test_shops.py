"""Every call works on one shop: named in the query or in the body."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.client import Client

# What the edge refuses does not depend on the stores behind it.
pytestmark = pytest.mark.parametrize("gateway", ["embedded"], indirect=True, scope="session")

CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "reserve": ("POST", "/v1/reservations", {"lines": [{"sku": "A", "quantity": 1}]}),
    "extend": ("POST", "/v1/reservations/{id}/extend", {}),
    "confirm": ("POST", "/v1/reservations/{id}/confirm", {}),
    "release": ("POST", "/v1/reservations/{id}/release", {}),
    "delete": ("DELETE", "/v1/reservations/{id}", {}),
    "batch": (
        "POST",
        "/v1/batch",
        {"operations": [{"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 1}]}}]},
    ),
    "put": ("PUT", "/v1/stock/A/main", {"source": "erp", "sequence": 1, "on_hand": 4}),
    "adjust": ("POST", "/v1/stock/A/main/adjust", {"delta": 1, "reason": "count"}),
    "pause": ("POST", "/v1/stock/A/pause", {}),
    "resume": ("POST", "/v1/stock/A/resume", {}),
    "query": ("POST", "/v1/stock/query", {"skus": ["A"]}),
}


@pytest.mark.parametrize(("method", "path", "body"), CALLS.values(), ids=CALLS)
async def test_shop_in_the_body_is_the_shop_of_the_call(
    api: Client, method: str, path: str, body: dict[str, Any]
) -> None:
    """Without a query parameter the body's field counts."""
    await api.stock_up("A", 5)
    held = await api.hold("A")
    silent = api.for_shop(None)

    answer = await silent.call(method, path.format(id=held["id"]), body | {"shop": api.shop}, key="k")

    assert answer.status in {200, 201}, answer.text
    if "shop" in answer.body:
        assert answer.body["shop"] == api.shop


@pytest.mark.parametrize(("method", "path", "body"), CALLS.values(), ids=CALLS)
async def test_two_different_shops_are_never_guessed_between(
    api: Client, method: str, path: str, body: dict[str, Any]
) -> None:
    """One in the query and another in the body: refused, and neither is touched."""
    await api.stock_up("A", 5)
    held = await api.hold("A", ack="durable")
    before = await api.stock("A")

    answer = await api.call(method, path.format(id=held["id"]), body | {"shop": f"{api.shop}-b"}, key="k")

    assert answer.outcome == (422, "invalid_request"), answer.text
    assert await api.stock("A") == before


async def test_shops_share_nothing(api: Client) -> None:
    """The same sku, location, source and key in two shops are two of each."""
    other = api.for_shop(f"{api.shop}-b")
    for client, units in ((api, 5), (other, 7)):
        await client.put_level("A", source="erp", sequence=1, on_hand=units)
        assert (await client.reserve(("A", units), key="k")).status == 201

    assert await api.counters("A") == (5, 5, 0, 0)
    assert await other.counters("A") == (7, 7, 0, 0)
