"""A halted shard: nobody writes, nobody opens it, until an operator's repair has."""

from __future__ import annotations

import asyncio

from gateway.durable.ledger import Ledger
from tests.contract.batches import OWNER, opened, stored
from tests.contract.conftest import LedgerMaker
from tests.contract.sql import run_sql

LEASE_MS = 10_000
REASON = "the totals differ: held 7 in Redis, 6 in the levels"


async def test_halt_stores_the_reason_and_refuses_appends(ledger: Ledger) -> None:
    """The gate is closed under the very epoch it was open for, and where the history stands is untouched."""
    log = await stored(ledger, await opened(ledger))
    before = await ledger.read_shard(0)

    assert await ledger.halt(0, log.epoch, REASON)

    row = await ledger.read_shard(0)
    assert (row.state, row.halted_reason, row.epoch) == ("halted", REASON, before.epoch)
    assert (row.owner_deadline_ms, row.generation) == (0, before.generation)
    assert log.at(row)
    assert await ledger.append(log.next()) is False
    assert await ledger.append(log.next(), owner=OWNER) is False


async def test_halt_under_an_epoch_that_moved_is_refused(ledger: Ledger) -> None:
    """Who judged an older epoch's books halts nothing."""
    log = await opened(ledger)
    before = await ledger.read_shard(0)

    assert await ledger.halt(0, log.epoch - 1, REASON) is False
    assert await ledger.halt(0, log.epoch + 1, REASON) is False

    assert await ledger.read_shard(0) == before


async def test_halt_again_keeps_the_first_reason(ledger: Ledger) -> None:
    """Several gateways may find it at once, and one may ask again after a lost answer."""
    log = await opened(ledger)
    await ledger.halt(0, log.epoch, REASON)

    assert await ledger.halt(0, log.epoch, "something that followed from it")

    assert (await ledger.read_shard(0)).halted_reason == REASON


async def test_halt_of_a_shard_in_recovery_stops_the_recoverer(ledger: Ledger) -> None:
    """What the recoverer found makes it halt, and whoever was overtaken by the halt opens and writes nothing."""
    log = await opened(ledger)
    raised = await ledger.raise_epoch(0, log.epoch, OWNER, LEASE_MS)
    assert raised is not None

    assert await ledger.halt(0, raised.epoch, REASON)

    assert await ledger.open_shard(0, raised.epoch, OWNER, 1, 0, []) is False
    assert await ledger.raise_epoch(0, raised.epoch, OWNER, LEASE_MS) is None
    assert (await ledger.read_shard(0)).state == "halted"


async def test_raise_epoch_by_the_operator_and_opened_lifts_the_halt(ledger: Ledger) -> None:
    """The reason stays until the repaired shard is open, and is gone then."""
    log = await opened(ledger)
    await ledger.halt(0, log.epoch, REASON)

    raised = await ledger.raise_epoch(0, log.epoch, OWNER, LEASE_MS, by_operator=True)

    assert raised is not None
    assert (raised.state, raised.epoch, raised.halted_reason) == ("recovering", log.epoch + 1, REASON)
    assert await ledger.open_shard(0, raised.epoch, OWNER, 1, 0, [(log.epoch, 0)])
    row = await ledger.read_shard(0)
    assert (row.state, row.halted_reason) == ("open", None)


async def test_raise_epoch_after_a_repair_that_died_is_refused(ledger: Ledger) -> None:
    """A repair that never came to its end lifts nothing, however long ago its deadline was; another repair may go on."""
    log = await opened(ledger)
    await ledger.halt(0, log.epoch, REASON)
    dead = await ledger.raise_epoch(0, log.epoch, "repair-1", 0, by_operator=True)
    assert dead is not None

    assert await ledger.raise_epoch(0, dead.epoch, OWNER, LEASE_MS) is None
    again = await ledger.raise_epoch(0, dead.epoch, "repair-2", LEASE_MS, by_operator=True)

    assert again is not None
    assert again.halted_reason == REASON


async def test_raise_epoch_by_eight_operators_at_once_one_wins(another_ledger: LedgerMaker) -> None:
    """A repair is one at a time, also of a halted shard."""
    ledgers = [await another_ledger() for _ in range(8)]
    await ledgers[0].prepare("auto")
    log = await opened(ledgers[0])
    await ledgers[0].halt(0, log.epoch, REASON)

    rows = await asyncio.gather(
        *(
            ledger.raise_epoch(0, log.epoch, f"repair-{at}", LEASE_MS, by_operator=True)
            for at, ledger in enumerate(ledgers)
        )
    )

    assert [row for row in rows if row is not None] == [await ledgers[0].read_shard(0)]


async def test_rebuilds_within_counts_those_that_opened_the_shard(ledger: Ledger, database_url: str) -> None:
    """Counted ones of this shard, by the store's clock; an opening at a start or an adoption is none."""
    for epoch, counts in ((1, False), (2, True), (3, False), (4, True)):
        await ledger.raise_epoch(0, epoch - 1, OWNER, LEASE_MS)
        assert await ledger.open_shard(0, epoch, OWNER, epoch, 0, [], counts_as_rebuild=counts)
        # The answer to the first was lost.
        assert await ledger.open_shard(0, epoch, OWNER, epoch, 0, [], counts_as_rebuild=counts)

    assert await ledger.rebuilds_within(0, 600_000) == 2
    assert await ledger.rebuilds_within(1, 600_000) == 0
    await run_sql(database_url, "UPDATE rebuilds SET at_ms = at_ms - 700000 WHERE epoch = 2")
    assert await ledger.rebuilds_within(0, 600_000) == 1


async def test_rebuilds_within_starts_anew_after_a_repair(ledger: Ledger) -> None:
    """The operator has dealt with what caused them; an unrepaired halt forgets none."""
    await ledger.raise_epoch(0, 0, OWNER, LEASE_MS)
    await ledger.open_shard(0, 1, OWNER, 1, 0, [], counts_as_rebuild=True)
    await ledger.halt(0, 1, REASON)
    assert await ledger.rebuilds_within(0, 600_000) == 1
    await ledger.raise_epoch(0, 1, OWNER, LEASE_MS, by_operator=True)

    await ledger.open_shard(0, 2, OWNER, 2, 0, [], counts_as_rebuild=True)

    assert await ledger.rebuilds_within(0, 600_000) == 0
