"""The gate: a batch is stored whole, in order, once, by the one who may."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.durable.ledger import Batch, Ledger, ShardRow
from tests.contract.batches import OWNER, Hold, Log, add, level_row, opened, stored
from tests.contract.conftest import LedgerMaker
from tests.contract.sql import rows_stored, run_sql

ROUNDS_MAX = 200


def full_batch(log: Log) -> Batch:
    """Two events, a level and a reservation."""
    return add(log.next(2), level_row("tee", seq=log.seq + 1), Hold(created_seq=log.seq + 2, seq=log.seq + 2))


async def test_append_first_batch_moves_the_shard_to_its_end(ledger: Ledger) -> None:
    """After an append the shard's row names the batch's last seq and digest."""
    log = await opened(ledger)
    batch = full_batch(log)

    assert await ledger.append(batch)

    assert log.moved_past(batch).at(await ledger.read_shard(0))


WRONG: dict[str, Callable[[Batch], Batch]] = {
    "older epoch": lambda batch: replace(batch, epoch=batch.epoch - 1),
    "newer epoch": lambda batch: replace(batch, epoch=batch.epoch + 1),
    "other digest before it": lambda batch: replace(batch, previous_digest="f" * 40),
    "other shard": lambda batch: replace(batch, shard=7),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_append_that_does_not_continue_the_history_writes_nothing(
    ledger: Ledger, database_url: str, wrong: str
) -> None:
    """A batch of another epoch, another past or an unknown shard is refused, and no table gains a row."""
    log = await stored(ledger, await opened(ledger))
    before = await rows_stored(database_url)

    assert await ledger.append(WRONG[wrong](full_batch(log))) is False

    assert await rows_stored(database_url) == before
    assert log.at(await ledger.read_shard(0))


@pytest.mark.parametrize("gap", [-1, 1])
async def test_append_beside_the_checkpoint_writes_nothing(ledger: Ledger, database_url: str, gap: int) -> None:
    """A batch that leaves a gap, or repeats the last event, is refused even with the right digest."""
    log = await stored(ledger, await opened(ledger))
    before = await rows_stored(database_url)

    assert await ledger.append(full_batch(replace(log, seq=log.seq + gap))) is False

    assert await rows_stored(database_url) == before


@pytest.mark.parametrize("state", ["recovering", "halted"])
async def test_append_to_a_shard_that_is_not_open_writes_nothing(ledger: Ledger, database_url: str, state: str) -> None:
    """Under the right epoch and at the right place, but while the shard is closed: refused."""
    log = await opened(ledger)
    await run_sql(database_url, f"UPDATE shards SET state = '{state}'")

    assert await ledger.append(full_batch(log)) is False

    assert set((await rows_stored(database_url)).values()) == {0}


async def test_append_twice_is_stored_once(ledger: Ledger, database_url: str) -> None:
    """The second run of a batch, as after a lost answer, is refused and changes nothing."""
    batch = full_batch(await opened(ledger))
    assert await ledger.append(batch)
    before = await rows_stored(database_url)

    assert await ledger.append(batch) is False

    assert await rows_stored(database_url) == before


async def test_append_by_the_recovering_owner_is_stored(ledger: Ledger) -> None:
    """While a shard recovers, its owner alone appends: the tail of the log it adopted."""
    seen = await ledger.read_shard(0)
    row = await ledger.raise_epoch(0, seen.epoch, OWNER, 10_000)
    assert row is not None
    batch = full_batch(Log(epoch=row.epoch))

    assert await ledger.append(batch, owner="gateway-2") is False
    assert await ledger.append(batch, owner="") is False
    assert await ledger.append(batch) is False
    assert await ledger.append(batch, owner=OWNER) is True


async def test_append_as_recovering_owner_of_an_open_shard_is_refused(ledger: Ledger) -> None:
    """Once the shard is open, the recovery's way in is closed, to the same owner too."""
    log = await opened(ledger)

    assert await ledger.append(full_batch(log), owner=OWNER) is False


async def test_append_with_an_owner_that_looks_like_sql_is_only_compared(ledger: Ledger) -> None:
    """An owner's name is a value: quotes, backslashes and other alphabets in it change no statement."""
    owner = "a' OR 'x'='x\\' -- ☃"
    row = await ledger.raise_epoch(0, (await ledger.read_shard(0)).epoch, owner, 10_000)
    assert row is not None
    assert row.owner == owner

    assert await ledger.append(full_batch(Log(epoch=row.epoch)), owner="' OR 'x'='x") is False
    assert await ledger.append(full_batch(Log(epoch=row.epoch)), owner=owner) is True


async def test_append_by_eight_at_once_one_wins(another_ledger: LedgerMaker, database_url: str) -> None:
    """Eight writers with a batch each for the same place: one is stored whole, seven write nothing."""
    ledgers = [await another_ledger() for _ in range(8)]
    await ledgers[0].prepare("auto")
    log = await opened(ledgers[0])
    batches = [full_batch(log) for _ in ledgers]

    won = await asyncio.gather(*(one.append(batch) for one, batch in zip(ledgers, batches, strict=True)))

    assert sorted(won) == [False] * 7 + [True]
    assert await rows_stored(database_url) == {
        "events": 2,
        "levels": 1,
        "level_sources": 0,
        "skus": 0,
        "reservations": 1,
        "reservation_skus": 0,
        "requests": 0,
    }
    assert log.moved_past(batches[won.index(True)]).at(await ledgers[0].read_shard(0))


async def test_append_against_a_raised_epoch_is_wholly_before_or_not_at_all(
    another_ledger: LedgerMaker, database_url: str
) -> None:
    """Whoever raises the epoch beside a flush sees it whole in the row it gets, or it was refused."""
    writer, recoverer = await another_ledger(), await another_ledger()
    await writer.prepare("auto")
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    log = await opened(writer)
    seen: set[bool] = set()

    for _ in range(ROUNDS_MAX):
        batch = full_batch(log)

        # Either may be ahead of the other by some round trips.
        async def flush(ahead: float, batch: Batch = batch) -> bool:
            await asyncio.sleep(-ahead)
            return await writer.append(batch)

        async def fence(ahead: float, epoch: int = log.epoch) -> ShardRow | None:
            await asyncio.sleep(ahead)
            return await recoverer.raise_epoch(0, epoch, OWNER, 10_000)

        ahead = chance.uniform(-0.003, 0.003)
        stored_whole, row = await asyncio.gather(flush(ahead), fence(ahead))

        assert row is not None
        log = log.moved_past(batch) if stored_whole else log
        assert log.at(row)
        assert (await run_sql(database_url, "SELECT count(*) FROM events"))[0][0] == log.seq
        log = await opened(writer)
        seen.add(stored_whole)
        if seen == {True, False}:
            return
    pytest.fail(f"in {ROUNDS_MAX} rounds the same one was always first: append {seen}")


async def test_append_to_two_shards_at_once_is_stored_in_both(ledger: Ledger) -> None:
    """Shards do not wait for each other's history: each has its own gate."""
    logs = [await opened(ledger, shard) for shard in (0, 1)]

    stored_both = await asyncio.gather(*(ledger.append(log.next(3)) for log in logs))

    assert stored_both == [True, True]
    assert [(await ledger.read_shard(shard)).checkpoint for shard in (0, 1)] == [3, 3]


async def test_append_cancelled_at_any_moment_is_whole_or_absent(ledger: Ledger, database_url: str) -> None:
    """A flusher that is cancelled leaves either nothing or everything, and the next writer's append works.

    PostgreSQL may still be at work on what was abandoned; raising the epoch waits for it, or comes before it.
    """
    log = await opened(ledger)
    seen: set[bool] = set()

    for ticks in range(ROUNDS_MAX):
        batch = add(log.next(3), level_row("tee", seq=log.seq + 3))
        task = asyncio.create_task(ledger.append(batch))
        for _ in range(ticks):
            await asyncio.sleep(0.0002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        row = await ledger.raise_epoch(0, log.epoch, OWNER, 10_000)
        assert row is not None
        was_stored = log.moved_past(batch).at(row)
        assert was_stored or log.at(row)
        log = await opened(ledger)
        log = await stored(ledger, log)
        assert log.at(await ledger.read_shard(0))
        assert (await run_sql(database_url, "SELECT count(*) FROM events"))[0][0] == log.seq
        seen.add(was_stored)
        if ticks > 20 and seen == {True, False}:
            return
    pytest.fail(f"in {ROUNDS_MAX} rounds every cancel came at the same side of the commit: {seen}")
