"""What a full gateway says: `overloaded` with Retry-After, nothing applied, and ends and sales still work."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.acceptance.client import Client
from tests.acceptance.gateways import Gateway
from tests.acceptance.patience import until
from tests.acceptance.sockets import connection, head


@pytest.fixture
async def small(new_gateway: Callable[..., Gateway], client_of: Callable[[Gateway], Client]) -> tuple[Client, str]:
    """A gateway for 3 requests at once and 20 changes that are not committed yet, and its database."""
    running = new_gateway(
        GATEWAY_HTTP__REQUESTS_MAX="3",
        GATEWAY_FLUSH__BACKLOG_MAX="20",
        GATEWAY_ACK__TIMEOUT_MS="300",
    )
    database = str(running.folder / "stock.db")
    running.settings["GATEWAY_DATABASE_URL"] = f"sqlite:///{database}"
    running.start()
    return client_of(running), database


async def test_full_gateway_refuses_and_recovers(small: tuple[Client, str]) -> None:
    """Too many requests at once, then too many uncommitted changes: 503 `overloaded`, and all is well afterwards."""
    api, database = small
    await api.stock_up("A", 100)
    half = head("POST", "/v1/reservations", 100) + b"{"

    async with connection(api.address) as one, connection(api.address) as two, connection(api.address) as three:
        for wire in (one, two, three):
            await wire.send(half)
        await asyncio.sleep(0.1)
        crowded = await api.reserve(("A", 1))
    await asyncio.sleep(0.1)
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
