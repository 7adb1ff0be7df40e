"""The shards' rows: one authority per shard, moved by compare-and-set."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.domain.event import GENESIS
from gateway.durable.ledger import Ledger, LedgerCorrupt, ShardRow
from tests.contract.batches import OWNER, opened, stored
from tests.contract.conftest import LedgerMaker
from tests.contract.sql import run_sql

LEASE_MS = 10_000


async def test_read_shard_makes_the_row_on_first_use(ledger: Ledger, database_url: str) -> None:
    """A shard that nobody asked for yet is recovering under epoch 0, with an empty history."""
    fresh = ShardRow(3, 0, 0, "recovering", "", 0, 0, GENESIS, 0)

    assert await ledger.read_shard(3) == fresh
    assert await ledger.read_shard(3) == fresh
    assert await run_sql(database_url, "SELECT shard FROM shards") == [(3,)]


async def test_read_shard_by_many_at_once_makes_one_row(another_ledger: LedgerMaker) -> None:
    """Gateways that start together agree on the row."""
    ledgers = [await another_ledger() for _ in range(6)]
    await ledgers[0].prepare("auto")

    rows = await asyncio.gather(*(ledger.read_shard(0) for ledger in ledgers))

    assert set(rows) == {ShardRow(0, 0, 0, "recovering", "", 0, 0, GENESIS, 0)}


async def test_raise_epoch_gives_the_shard_to_its_owner(ledger: Ledger) -> None:
    """The next epoch, recovering, ours until the lease ends; where the history stands is untouched."""
    log = await stored(ledger, await opened(ledger))
    before = await ledger.read_shard(0)

    row = await ledger.raise_epoch(0, before.epoch, "gateway-2", LEASE_MS)

    assert row is not None
    assert (row.epoch, row.state, row.owner) == (before.epoch + 1, "recovering", "gateway-2")
    assert (row.generation, row.rebuilt_ms) == (before.generation, before.rebuilt_ms)
    assert log.at(row)
    assert await ledger.read_shard(0) == row


async def test_keep_claim_moves_the_lease_of_its_owner_alone(ledger: Ledger) -> None:
    """Who recovers a shard may go on doing so; who was overtaken, another owner, or one that has opened it may not."""
    first = await ledger.raise_epoch(0, 0, OWNER, 0)
    assert first is not None

    assert await ledger.keep_claim(0, 1, OWNER, 1_000_000)
    kept = await ledger.read_shard(0)
    assert kept.owner_deadline_ms >= first.owner_deadline_ms + 1_000_000
    assert (kept.epoch, kept.state, kept.owner) == (1, "recovering", OWNER)
    assert await ledger.raise_epoch(0, 1, "gateway-2", LEASE_MS) is None

    assert not await ledger.keep_claim(0, 1, "gateway-2", 2_000_000)
    assert not await ledger.keep_claim(0, 2, OWNER, 2_000_000)
    assert await ledger.open_shard(0, 1, OWNER, 1, 0, [])
    opened_row = await ledger.read_shard(0)
    assert not await ledger.keep_claim(0, 1, OWNER, 2_000_000)
    assert await ledger.read_shard(0) == opened_row


async def test_raise_epoch_lease_ends_by_the_stores_clock(ledger: Ledger) -> None:
    """The deadline is the store's now, in milliseconds since 1970, plus the lease."""
    first = await ledger.raise_epoch(0, 0, OWNER, 0)
    second = await ledger.raise_epoch(0, 1, OWNER, 1_000_000)

    assert first is not None
    assert second is not None
    assert abs(first.owner_deadline_ms - time.time() * 1000) < 60_000
    assert 0 <= second.owner_deadline_ms - first.owner_deadline_ms - 1_000_000 < 60_000


async def test_raise_epoch_from_an_epoch_that_moved_is_refused(ledger: Ledger) -> None:
    """Who saw an older epoch was overtaken and changes nothing."""
    log = await opened(ledger)
    before = await ledger.read_shard(0)

    assert await ledger.raise_epoch(0, log.epoch - 1, OWNER, LEASE_MS) is None
    assert await ledger.raise_epoch(0, log.epoch + 1, OWNER, LEASE_MS) is None

    assert await ledger.read_shard(0) == before


async def test_raise_epoch_within_anothers_lease_is_refused_and_after_it_granted(ledger: Ledger) -> None:
    """A recoverer is left alone until its deadline; one that died or froze is overtaken after it."""
    row = await ledger.raise_epoch(0, 0, "gateway-1", LEASE_MS)
    assert row is not None

    assert await ledger.raise_epoch(0, 1, "gateway-2", LEASE_MS) is None
    again = await ledger.raise_epoch(0, 1, "gateway-1", 0)
    overtaken = await ledger.raise_epoch(0, 2, "gateway-2", LEASE_MS)

    assert again is not None
    assert overtaken is not None
    assert (overtaken.epoch, overtaken.owner) == (3, "gateway-2")


async def test_raise_epoch_of_a_halted_shard_is_refused(ledger: Ledger) -> None:
    """A shard that halted waits for the operator, whatever its deadline says."""
    log = await opened(ledger)
    assert await ledger.halt(0, log.epoch, "for a test")

    assert await ledger.raise_epoch(0, log.epoch, OWNER, LEASE_MS) is None

    assert (await ledger.read_shard(0)).state == "halted"


async def test_raise_epoch_by_eight_at_once_one_wins(another_ledger: LedgerMaker) -> None:
    """Eight gateways that notice the same loss: one allocates the epoch."""
    ledgers = [await another_ledger() for _ in range(8)]
    await ledgers[0].prepare("auto")
    log = await opened(ledgers[0])

    rows = await asyncio.gather(
        *(ledger.raise_epoch(0, log.epoch, f"g{at}", LEASE_MS) for at, ledger in enumerate(ledgers))
    )

    winners = [row for row in rows if row is not None]
    assert winners == [await ledgers[0].read_shard(0)]
    assert winners[0].epoch == log.epoch + 1


async def test_open_shard_records_generation_rebuild_and_ended_epochs(ledger: Ledger) -> None:
    """An opened shard has the generation it was rebuilt into, and older epochs their ends."""
    await ledger.raise_epoch(0, 0, OWNER, LEASE_MS)
    await ledger.raise_epoch(0, 1, OWNER, LEASE_MS)

    assert await ledger.open_shard(0, 2, OWNER, 4, 77, [(0, 0), (1, 12)])

    row = await ledger.read_shard(0)
    assert (row.state, row.epoch, row.generation, row.rebuilt_ms) == ("open", 2, 4, 77)
    assert await ledger.epoch_ends(0) == {0: 0, 1: 12}
    assert await ledger.epoch_ends(1) == {}


async def test_open_shard_without_a_rebuild_keeps_the_time_of_the_last(ledger: Ledger) -> None:
    """An adopted shard was not rebuilt: requests since the last rebuild still ask the store."""
    await ledger.raise_epoch(0, 0, OWNER, LEASE_MS)
    assert await ledger.open_shard(0, 1, OWNER, 1, 77, [])
    await ledger.raise_epoch(0, 1, OWNER, LEASE_MS)

    assert await ledger.open_shard(0, 2, OWNER, 1, 0, [(1, 5)])

    assert (await ledger.read_shard(0)).rebuilt_ms == 77


async def test_open_shard_by_who_was_overtaken_is_refused(ledger: Ledger) -> None:
    """Neither an older epoch nor another owner opens a shard, and no epoch is ended by them."""
    await ledger.raise_epoch(0, 0, "gateway-1", 0)
    await ledger.raise_epoch(0, 1, "gateway-2", LEASE_MS)
    before = await ledger.read_shard(0)

    assert await ledger.open_shard(0, 1, "gateway-1", 1, 0, [(0, 5)]) is False
    assert await ledger.open_shard(0, 2, "gateway-1", 1, 0, [(0, 5)]) is False

    assert await ledger.read_shard(0) == before
    assert await ledger.epoch_ends(0) == {}


async def test_open_shard_again_after_a_lost_answer_is_a_success(ledger: Ledger) -> None:
    """The same owner may ask twice; another one may not claim the opening."""
    await ledger.raise_epoch(0, 0, OWNER, LEASE_MS)
    assert await ledger.open_shard(0, 1, OWNER, 1, 5, [(0, 0)])
    before = await ledger.read_shard(0)

    assert await ledger.open_shard(0, 1, OWNER, 1, 5, [(0, 0)]) is True
    assert await ledger.open_shard(0, 1, "gateway-2", 1, 5, [(0, 0)]) is False

    assert await ledger.read_shard(0) == before


async def test_open_shard_that_moves_the_end_of_an_epoch_is_an_alarm(ledger: Ledger) -> None:
    """Where an epoch ended is decided once: ids beyond it were told to be lost."""
    await ledger.raise_epoch(0, 0, OWNER, LEASE_MS)
    await ledger.open_shard(0, 1, OWNER, 1, 0, [(0, 3)])
    await ledger.raise_epoch(0, 1, OWNER, LEASE_MS)

    with pytest.raises(LedgerCorrupt, match="epoch 0 of shard 0"):
        await ledger.open_shard(0, 2, OWNER, 1, 0, [(0, 4), (1, 9)])

    assert await ledger.epoch_ends(0) == {0: 3}
    assert (await ledger.read_shard(0)).state == "recovering"
