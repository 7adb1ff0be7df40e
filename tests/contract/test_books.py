"""The books: counters and reservations of one moment, added up independently."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.domain.reservation import Line, State
from gateway.durable.ledger import Ledger, LedgerError, LedgerUnavailable, SchemaMismatch, SourceRow
from gateway.durable.stores import ledger_for
from tests.contract.batches import NOW_MS, Hold, Log, add, level_row, opened, stored
from tests.contract.sql import run_sql


async def test_books_of_an_unused_shard_are_empty(ledger: Ledger) -> None:
    """Nothing was written: a fresh row, no levels, no sums; and looking makes nothing."""
    books = await ledger.read_books(5)

    assert (books.shard.shard, books.shard.epoch, books.shard.checkpoint) == (5, 0, 0)
    assert (books.levels, books.held, books.committed) == ({}, {}, {})


async def test_books_add_up_open_lines_only(ledger: Ledger) -> None:
    """Held lines count whatever the deadline, confirmed ones until they are settled, ended ones never."""
    two = [Line("tee", "main", 2), Line("mug", "east", 3)]
    log = await stored(
        ledger,
        await opened(ledger),
        level_row("tee", held=4, committed=7, on_hand=20),
        SourceRow("main", "tee", "main", "erp", 1, 0, ""),
        Hold(lines=two),
        Hold(lines=two, deadline_ms=NOW_MS - 1, created_seq=2, seq=2),
        Hold(state="confirmed", lines=[Line("tee", "main", 7), Line("tee", "east", 5, settled=True)]),
        Hold(state="fulfilled", lines=[Line("tee", "main", 9, settled=True)]),
        Hold(state="released", lines=[Line("tee", "main", 11)]),
        Hold(state="expired", lines=[Line("tee", "main", 13)]),
        Hold(shop="other", lines=[Line("tee", "main", 1)]),
    )
    await stored(ledger, await opened(ledger, shard=1), Hold(lines=two), level_row("x"))

    books = await ledger.read_books(0)

    assert log.at(books.shard)
    assert set(books.levels) == {("main", "tee", "main")}
    assert books.levels["main", "tee", "main"].pack() == f"20 4 7 0 0 1 1 1 {NOW_MS + 1}"
    assert books.held == {("main", "tee", "main"): 4, ("main", "mug", "east"): 6, ("other", "tee", "main"): 1}
    assert books.committed == {("main", "tee", "main"): 7}


async def test_books_of_more_rows_than_a_page_are_whole(ledger: Ledger) -> None:
    """Several pages of levels and of reservations add up to all of them."""
    count = 4_500
    batch = (await opened(ledger)).next(count)
    add(batch, *(Hold(created_seq=seq, seq=seq, lines=[Line("tee", "main", 2)]) for seq in range(1, count + 1)))
    add(batch, *(level_row(f"sku-{seq}", seq=seq) for seq in range(1, count + 1)))
    assert await ledger.append(batch)

    books = await ledger.read_books(0)

    assert len(books.levels) == count
    assert books.held == {("main", "tee", "main"): 2 * count}


async def test_books_during_flushes_always_balance(ledger: Ledger) -> None:
    """However the check meets the flusher: row, counters and reservations are of the same commit."""
    log = await opened(ledger)
    is_over = False
    seen: list[tuple[int, int, int]] = []

    async def check_on() -> None:
        while not is_over:
            books = await ledger.read_books(0)
            level = books.levels.get(("main", "tee", "main"))
            held = books.held.get(("main", "tee", "main"), 0)
            seen.append((books.shard.checkpoint, level.held if level else 0, held))

    async def flush_on(start: Log) -> None:
        at = start
        for seq in itertools.count(1):
            if seq >= 60 and len(seen) > 1:
                return
            assert not checking.done()
            batch = add(at.next(), level_row("tee", held=seq, seq=seq), Hold(created_seq=seq, seq=seq))
            assert await ledger.append(batch)
            at = replace(at.moved_past(batch))

    checking = asyncio.create_task(check_on())
    await flush_on(log)
    is_over = True
    await checking

    assert [numbers for numbers in seen if len(set(numbers)) > 1] == []


async def test_stored_reservations_come_in_every_state_by_name(ledger: Ledger) -> None:
    """In pages by random part, with the columns beside the text; another shard's are not among them; or by name alone."""
    states: tuple[State, ...] = ("held", "confirmed", "fulfilled", "released", "expired")
    holds = [Hold(created_seq=seq, seq=seq, state=states[seq % 5]) for seq in range(1, 12)]
    await stored(ledger, await opened(ledger), *holds)
    elsewhere = Hold()
    await stored(ledger, await opened(ledger, shard=1), elsewhere)
    expected = sorted((one.random_part, one.state, one.seq, one.packed()) for one in holds)

    found: list[tuple[str, str, int, str]] = []
    while page := await ledger.stored_page(0, found[-1][0] if found else "", 4):
        assert len(page) <= 4
        found += page

    assert found == expected
    wanted = [holds[3].random_part, elsewhere.random_part, "nobody"]
    among = await ledger.stored_among(wanted)
    assert set(among) == set(wanted[:2])
    assert among[wanted[0]] == (holds[3].random_part, holds[3].state, 4, holds[3].packed())
    assert await ledger.stored_among([]) == {}


async def test_events_are_found_by_seq_and_by_what_they_changed(ledger: Ledger) -> None:
    """Some events by their seqs, whatever is missing; and the last change of a reservation before a seq, its reserve not counted."""
    log = await opened(ledger)
    batch = log.next(6)
    for row, type in zip(
        batch.events, ("reserved", "reserved", "extended", "confirmed", "confirmed", "shipped"), strict=True
    ):
        row.type, row.reservation = f"stock.{type}", "b" if row.seq == 4 else "a"
    assert await ledger.append(batch)

    assert sorted(event.seq for event in await ledger.events_at(0, [5, 2, 99])) == [2, 5]
    assert await ledger.events_at(1, [5]) == []
    assert [await ledger.change_before(0, "a", seq) for seq in (3, 4, 6, 7)] == [
        None,
        batch.events[2],
        batch.events[4],
        batch.events[5],
    ]
    assert await ledger.change_before(1, "a", 7) is None


async def test_a_store_that_is_only_read_takes_no_write(ledger: Ledger, database_url: str) -> None:
    """Reads answer, every write is refused by the store, and the schema is only looked at."""
    await stored(ledger, await opened(ledger), Hold(), level_row("tee", held=1))
    reader = ledger_for(
        database_url, pool_size=1, pool_timeout_ms=5_000, statement_timeout_ms=10_000, is_read_only=True
    )
    await reader.open()
    try:
        await reader.verify_schema()
        assert (await reader.read_books(0)).held == {("main", "tee", "main"): 1}
        row = await reader.read_shard(0)
        with pytest.raises(LedgerError):
            await reader.raise_epoch(0, row.epoch, "me", 1000)
        with pytest.raises(LedgerError):
            await reader.append(Log(0, row.epoch, row.checkpoint, row.digest).next())
        assert await ledger.read_shard(0) == row
        await run_sql(database_url, "UPDATE schema_version SET version_num = 'r9999'")
        with pytest.raises(SchemaMismatch):
            await reader.verify_schema()
    finally:
        await reader.close()


async def test_a_store_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    """A SQLite file that does not exist is told, and does not exist afterwards either."""
    path = tmp_path / "nothing.db"
    reader = ledger_for(
        f"sqlite:///{path}", pool_size=1, pool_timeout_ms=1_000, statement_timeout_ms=1_000, is_read_only=True
    )
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        await reader.open()
    await reader.close()
    assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    """The files there."""
    return sorted(path.name for path in folder.iterdir())
