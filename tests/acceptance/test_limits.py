"""Limits that an operator sets: sizes, times, and what a full gateway says. Ends and sales still work then."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.acceptance.client import Client
from tests.acceptance.gateways import Gateway
from tests.acceptance.patience import answered, until
from tests.acceptance.sockets import begun_head, connection, head, padded


@pytest.fixture
async def small(new_gateway: Callable[..., Gateway], client_of: Callable[[Gateway], Client]) -> tuple[Client, str]:
    """A gateway for 3 requests at once and 20 changes that are not committed yet, and its database."""
    running = new_gateway(
        GATEWAY_HTTP__REQUESTS_MAX="3",
        GATEWAY_FLUSH__BACKLOG_MAX="20",
    )
    database = str(running.folder / "stock.db")
    running.settings["GATEWAY_DATABASE_URL"] = f"sqlite:///{database}"
    running.start()
    return client_of(running), database


async def test_full_gateway_refuses_and_recovers(small: tuple[Client, str]) -> None:
    """Too many requests at once, then too many uncommitted changes: 503 `overloaded`, and all is well afterwards."""
    api, database = small
    await api.stock_up("A", 100)
    half = begun_head("/v1/reservations")

    async with connection(api.address) as one, connection(api.address) as two, connection(api.address) as three:
        for wire in (one, two, three):
            await wire.send(half)
            await wire.is_invited()
        crowded = await api.reserve(("A", 1))
    await answered(lambda: api.get("/v1/stock/A"))  # until the gateway has seen that they are gone
    first = await api.hold("A")
    second = await api.hold("A", ack="durable")
    with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connected:
        connected.execute("BEGIN IMMEDIATE")
        full = [await api.reserve(("A", 1)) for _ in range(40)]
        held_then = (await api.stock("A"))["held"]
        ended = [
            await api.act("confirm", first["id"], ack="memory"),
            await api.act("release", second["id"], ack="memory"),
        ]
        written = await api.put_level("A", source="erp", sequence=1, on_hand=9, ack="memory")
        connected.execute("ROLLBACK")

    async def is_back() -> bool:
        return (await api.reserve(("A", 1))).status == 201

    await until(is_back)
    assert crowded.outcome == (503, "overloaded")
    granted = [answer for answer in full if answer.status == 201]
    assert 1 <= len(granted) <= 20
    assert {answer.outcome for answer in full[len(granted) :]} == {(503, "overloaded")}
    assert held_then == len(granted) + 2
    assert [answer.status for answer in ended] == [200, 200]
    assert written.outcome == (503, "overloaded")
    assert await api.counters("A") == (100, len(granted) + 1, 1, 98 - len(granted))


@pytest.fixture
async def tight(new_gateway: Callable[..., Gateway], client_of: Callable[[Gateway], Client]) -> Client:
    """A gateway with small bodies, small headers and three seconds for a body to arrive."""
    running = new_gateway(
        GATEWAY_HTTP__BODY_BYTES_MAX="1024",
        GATEWAY_HTTP__HEADER_BYTES_MAX="2048",
        GATEWAY_HTTP__BODY_TIMEOUT_MS="3000",
        GATEWAY_ACK__RESERVE="durable",
    )
    running.start()
    return client_of(running)


async def test_configured_sizes_times_and_ack_are_kept(tight: Client) -> None:
    """Small bodies 413, long headers 431, a body that drips 408, reserves durable; imports are free of the limit."""
    await tight.stock_up("A", 9)

    taken = await tight.post("/v1/reservations", raw=padded(1024))
    assert (taken.status, taken.body["durable"]) == (201, True)
    assert (await tight.post("/v1/reservations", raw=padded(1025))).outcome == (413, "body_too_large")
    rows = b"sku,location,on_hand\n" + b"".join(b"S%d,main,1\n" % row for row in range(300))
    imported = await tight.post(
        "/v1/stock/import", raw=rows, content_type="text/csv", source="erp", sequence=1, ack="memory"
    )
    assert imported.body["applied"] == 300

    async with connection(tight.address) as raw:
        await raw.send(head("GET", "/healthz", None, "X-Long: " + "x" * 4000))
        status, headers, problem = await raw.answer()
        assert (status, problem["code"]) == (431, "headers_too_large")
        assert headers["content-type"].startswith("application/problem+json")

    async with connection(tight.address) as raw:
        await raw.send(head("POST", f"/v1/reservations?shop={tight.shop}", 37) + b'{"lines":')
        began = time.monotonic()
        status, headers, problem = await raw.answer()
        assert (status, problem["code"]) == (408, "request_timeout")
        assert time.monotonic() - began < 9, "as long as by default"
        assert headers["content-type"].startswith("application/problem+json")
    assert (await tight.stock("A"))["held"] == 1
