"""Ledgers that are closed after the test, on stores of one dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway.durable.ledger import Ledger
from gateway.durable.stores import ledger_for
from gateway.embedded import PrivatePostgres

LedgerMaker = Callable[..., Awaitable[Ledger]]


@pytest.fixture
async def ledger_at() -> AsyncIterator[LedgerMaker]:
    """Makes open and prepared ledgers at a URL."""
    made: list[Ledger] = []

    async def make(url: str, *, statement_timeout_ms: int = 10_000, pool_size: int = 4) -> Ledger:
        ledger = ledger_for(url, pool_size=pool_size, pool_timeout_ms=5_000, statement_timeout_ms=statement_timeout_ms)
        made.append(ledger)
        await ledger.open()
        await ledger.prepare("auto")
        return ledger

    yield make
    for ledger in made:
        await ledger.close()


@pytest.fixture
async def postgres_ledger(ledger_at: LedgerMaker, postgres_url: str) -> Ledger:
    """A ledger on an empty PostgreSQL database."""
    return await ledger_at(postgres_url)


@pytest.fixture
async def sqlite_ledger(ledger_at: LedgerMaker, sqlite_url: str) -> Ledger:
    """A ledger on a new SQLite file."""
    return await ledger_at(sqlite_url)


@pytest.fixture
def own_postgres(short_path: Path) -> Iterator[PrivatePostgres]:
    """A PostgreSQL for this test alone, running: to be configured, stopped and copied."""
    server = PrivatePostgres(short_path / "postgres", fsync=False)
    server.start()
    yield server
    server.stop()
