"""Stores for gateways under test, and one gateway on them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.embedded import PrivateRedis
from gateway.service import loading
from tests.servers import redis_binary, remove_keys
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


@pytest.fixture
def stores(valkey_url: str, sqlite_url: str) -> Stores:
    """Empty stores of the quick kind: a Valkey, and a SQLite file."""
    return Stores(valkey_url, sqlite_url)


@pytest.fixture
def each_database(valkey_url: str, database_url: str) -> Stores:
    """Empty stores, the durable one of each kind."""
    return Stores(valkey_url, database_url)


@pytest.fixture
def each_store(redis_id: str, redis_url: str, database_url: str) -> Iterator[Stores]:
    """Empty stores, each Redis with each durable store. On a given Redis stay under the prefix."""
    prefix = f"t{secrets.token_hex(3)}"
    yield Stores(redis_url, database_url, prefix=prefix)
    if redis_id == "given":
        remove_keys(redis_url, prefix)


@pytest.fixture
def mortal_redis(redis_id: str, short_path: Path) -> Iterator[PrivateRedis]:
    """A server for this test alone, of each kind that is here, running: to stop and to start again."""
    if redis_id == "given":
        pytest.fail("a given server is nothing to restart: run these tests without GATEWAY_TEST_REDIS_URL")
    server = PrivateRedis(short_path / "redis", redis_binary(redis_id))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def patient_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tickets, and what is known to be absent, live longer than a machine may stand still between two steps of a test."""
    monkeypatch.setattr(loading, "TICKET_MS", 60_000)
    monkeypatch.setattr(loading, "ABSENT_MS", 120_000)


@pytest.fixture
async def gateway(stores: Stores) -> AsyncIterator[Gateway]:
    """A gateway on the quick stores, whose flusher turns by itself."""
    async with running(stores) as gateway:
        yield gateway


@pytest.fixture
async def idle(stores: Stores) -> AsyncIterator[Gateway]:
    """A gateway on the quick stores, whose flusher turns only when it is told to."""
    async with running(stores, is_flushing=False) as gateway:
        yield gateway
