"""The books: counters and reservations of one moment, added up independently."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from gateway.domain.reservation import Line
from gateway.durable.ledger import Ledger, SourceRow
from tests.contract.batches import NOW_MS, Hold, Log, add, level_row, opened, stored


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
        for seq in range(1, 60):
            batch = add(at.next(), level_row("tee", held=seq, seq=seq), Hold(created_seq=seq, seq=seq))
            assert await ledger.append(batch)
            at = replace(at.moved_past(batch))

    checking = asyncio.create_task(check_on())
    await flush_on(log)
    is_over = True
    await checking

    assert [numbers for numbers in seen if len(set(numbers)) > 1] == []
    assert len(seen) > 1
