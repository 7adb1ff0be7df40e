"""The simulated database is a ledger as the real ones are: the contract suite runs on it, but for what asks by SQL or by address."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.durable.ledger import Ledger
from tests.contract import test_append, test_books, test_gate, test_reservations, test_shards, test_stock
from tests.contract.conftest import LedgerMaker
from tests.simulation.database import Database
from tests.simulation.ledger import DatabaseWay, SimulatedLedger

#: No client of a simulation searches or lists; and a table that the simulation has no use for is not there.
LEFT_OUT = ("search", "catalogue", "list_skus")


def now_ms() -> int:
    """A clock that goes, for leases that end while a test waits."""
    return time.time_ns() // 1_000_000


@pytest.fixture
async def another_ledger() -> AsyncIterator[LedgerMaker]:
    """Makes ledgers on one simulated database, each with a way of its own."""
    database = Database(now_ms)
    made = 0

    async def make() -> Ledger:
        nonlocal made
        made += 1
        return SimulatedLedger(database, DatabaseWay(random.Random(made), delay_s_max=0.0))

    return make


@pytest.fixture
async def ledger(another_ledger: LedgerMaker) -> Ledger:
    """A ledger on an empty database."""
    return await another_ledger()


def _is_for_any_ledger(test: Any) -> bool:
    names = set(inspect.signature(test).parameters)
    return not names & {"database_url", "sqlite_url", "tmp_path"} and not any(
        word in test.__name__ or word in inspect.getsource(test) for word in LEFT_OUT
    )


for _module in (test_append, test_books, test_gate, test_reservations, test_shards, test_stock):
    for _name, _test in inspect.getmembers(_module, inspect.isfunction):
        if _name.startswith("test_") and _test.__module__ == _module.__name__ and _is_for_any_ledger(_test):
            globals()[f"{_name}_on_{_module.__name__.rpartition('.')[2]}"] = _test


def test_contract_of_the_ledger_is_held_in_full_but_for_what_needs_sql() -> None:
    """Most of the suite runs here; were its tests renamed away, this would say so."""
    assert sum(name.startswith("test_") for name in globals()) >= 25
