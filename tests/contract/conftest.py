"""A ledger on each kind of store, with its schema made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway.durable.ledger import Ledger
from gateway.durable.stores import ledger_for

LedgerMaker = Callable[[], Awaitable[Ledger]]


@pytest.fixture
async def another_ledger(database_url: str, patient_locks: None) -> AsyncIterator[LedgerMaker]:
    """Makes ledgers on one store, each with connections of its own, as other gateways would have them."""
    made: list[Ledger] = []

    async def make() -> Ledger:
        ledger = ledger_for(database_url, pool_size=4, pool_timeout_ms=5_000, statement_timeout_ms=10_000)
        made.append(ledger)
        await ledger.open()
        return ledger

    yield make
    for ledger in made:
        await ledger.close()


@pytest.fixture
async def ledger(another_ledger: LedgerMaker) -> Ledger:
    """A ledger on an empty store with this version's schema."""
    ledger = await another_ledger()
    await ledger.prepare("auto")
    return ledger
