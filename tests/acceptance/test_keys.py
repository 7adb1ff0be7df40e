"""Keys: nothing without one where one is configured, everything with it, and where a start is refused without."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.client import Client
from tests.acceptance.gateways import Gateway

KEY = "first-key-of-the-shop-0123456789abcdef"
CALLS = [
    ("POST", "/v1/reservations"),
    ("GET", "/v1/reservations"),
    ("GET", "/v1/reservations/rsv_1"),
    ("DELETE", "/v1/reservations/rsv_1"),
    ("POST", "/v1/reservations/rsv_1/extend"),
    ("POST", "/v1/reservations/rsv_1/confirm"),
    ("POST", "/v1/reservations/rsv_1/fulfil"),
    ("POST", "/v1/reservations/rsv_1/release"),
    ("POST", "/v1/batch"),
    ("GET", "/v1/stock"),
    ("GET", "/v1/stock/A"),
    ("PUT", "/v1/stock/A/main"),
    ("POST", "/v1/stock/A/main/adjust"),
    ("POST", "/v1/stock/A/pause"),
    ("POST", "/v1/stock/A/resume"),
    ("POST", "/v1/stock/query"),
    ("POST", "/v1/stock/import"),
    ("GET", "/v1/admin/policy"),
    ("POST", "/v1/admin/reload"),
    ("GET", "/v1/admin/conservation"),
]


@pytest.fixture
async def guarded(new_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway with a bootstrap key."""
    running = new_gateway(GATEWAY_BOOTSTRAP_KEY=KEY)
    running.start()
    return running


async def test_configured_key_is_needed_and_opens_everything(
    guarded: Gateway, client_of: Callable[[Gateway], Client]
) -> None:
    """401 without it, with another, in another scheme, on every call, before body and size; with it all is served."""
    api = client_of(guarded)
    right = {"Authorization": f"Bearer {KEY}"}
    wrong = [{}, *[{"Authorization": v} for v in (f"Bearer {KEY}x", f"Basic {KEY}", KEY, "Bearer", "Bearer é", "")]]

    for method, path in CALLS:
        answer = await api.call(method, path, raw=b"{", content_type="text/plain")
        assert answer.outcome == (401, "unauthenticated"), path
    for headers in wrong:
        assert (await api.call("GET", "/v1/stock", headers=headers)).outcome == (401, "unauthenticated"), headers
    large = await api.post("/v1/reservations", raw=b" " * 1_048_577)
    assert large.outcome == (401, "unauthenticated")
    assert (await api.call("GET", "/v1/nothing")).outcome == (404, "not_found")
    assert (await api.call("PATCH", "/v1/stock")).outcome == (405, "method_not_allowed")
    assert (await api.get("/healthz")).status == 200

    level = {"source": "erp", "sequence": 1, "on_hand": 3}
    assert (await api.call("PUT", "/v1/stock/A/main", level, headers=right)).status == 200
    body = {"lines": [{"sku": "A", "quantity": 1}]}
    held = await api.post("/v1/reservations", body, headers=right)
    assert held.status == 201
    assert (await api.call("GET", "/v1/admin/policy", headers=right)).status == 200
    assert (await api.call("GET", "/v1/admin/conservation", headers=right)).body["violations"] == []
    policy = await api.call("GET", "/v1/admin/policy", headers=right)
    assert KEY not in policy.text
    assert KEY not in guarded.log


def test_start_without_a_key_on_a_public_address_is_refused(new_gateway: Callable[..., Gateway]) -> None:
    """Without any key the gateway serves on a loopback address only."""
    status, log = new_gateway(GATEWAY_HOST="0.0.0.0").refused_start()  # noqa: S104 - it must not

    assert status != 0
    assert "Traceback" not in log
