"""The simulated database is a ledger as the real ones are: the contract suite runs on it, but for what asks by SQL or by address."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.durable.ledger import Batch, Ledger, LevelRow, TotalsDiffer
from gateway.durable.stores import ledger_for
from tests.contract import (
    test_append,
    test_books,
    test_gate,
    test_halts,
    test_reservations,
    test_shards,
    test_stock,
    test_totals,
)
from tests.contract.batches import Log, add, level_row, opened
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


for _module in (
    test_append,
    test_books,
    test_gate,
    test_halts,
    test_reservations,
    test_shards,
    test_stock,
    test_totals,
):
    for _name, _test in inspect.getmembers(_module, inspect.isfunction):
        if _name.startswith("test_") and _test.__module__ == _module.__name__ and _is_for_any_ledger(_test):
            globals()[f"{_name}_on_{_module.__name__.rpartition('.')[2]}"] = _test


def test_contract_of_the_ledger_is_held_in_full_but_for_what_needs_sql() -> None:
    """Most of the suite runs here; were its tests renamed away, this would say so."""
    assert sum(name.startswith("test_") for name in globals()) >= 40


async def test_totals_move_as_in_a_real_store(ledger: Ledger, tmp_path: Path) -> None:
    """Random levels, new ones and known ones in any order, in two shards: both rows count the same after each batch."""
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    dice = random.Random(seed)
    real = ledger_for(f"sqlite:///{tmp_path}/real.db", pool_size=1, pool_timeout_ms=5_000, statement_timeout_ms=5_000)
    await real.open()
    await real.prepare("auto")
    logs: dict[int, Log] = {}
    for shard in (0, 1):
        logs[shard] = await opened(ledger, shard=shard)
        await opened(real, shard=shard)
    for _ in range(30):
        shard = dice.choice([0, 1])
        log = logs[shard]
        batch = log.next()
        names = dice.sample(range(12), dice.randint(1, 5))
        add(batch, *[_random_level(dice, f"s{shard}-{name}", log.seq + 1) for name in names])
        told = (await real.read_shard(shard)).totals
        if dice.random() < 0.2:  # with an event that tells totals: those before the batch, so mostly others
            batch.totals[batch.last_seq] = told
        done = [await _outcome(one, batch) for one in (real, ledger)]

        assert done[0] == done[1]
        assert (await ledger.read_shard(shard)).totals == (await real.read_shard(shard)).totals
        if done[0] == "True":
            logs[shard] = log.moved_past(batch)
    assert any((await ledger.read_shard(0)).totals)
    await real.close()


def _random_level(dice: random.Random, sku: str, seq: int) -> LevelRow:
    numbers = {"on_hand": dice.randrange(99), "held": dice.randrange(9), "committed": dice.choice([0, 0, 3])}
    return replace(level_row(sku, seq=seq), deducted=dice.choice([0, 0, 5]), **numbers)


async def _outcome(ledger: Ledger, batch: Batch) -> str:
    try:
        return str(await ledger.append(batch))
    except TotalsDiffer as problem:
        return str(problem)
