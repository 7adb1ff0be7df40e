"""What an append stores, and what it refuses to store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.reservation import Line
from gateway.durable.ledger import (
    Batch,
    EventRow,
    Ledger,
    LedgerCorrupt,
    RequestRow,
    SkuRow,
    SourceRow,
)
from gateway.durable.written import written, written_columns
from tests.contract.batches import NOW_MS, Hold, Log, add, level_row, opened, stored
from tests.contract.sql import rows_stored, run_sql

#: Signs by which one way or another of loading rows ends a word, a row or all of them, or which stand for no value.
SIGNS = ["\x01", "\x02", "\x01\x01\x02\x01", "\r\n", "\\.", "\n\\.\n", "\\N", '"', "\t", "NULL", ""]
#: Skus that broke somebody's store: several alphabets, signs beyond 16 bits, a combining accent and its composed
#: twin, quotes, a backslash, what looks like a format or a substitution, and blanks that must survive.
ODD = ["штаны", "裤子-XL", "👖", "e\u0301", "\u00e9", "a'b\"c", "back\\slash", "%s%(x)s", "{0}", " x ", "ß", "\u200b"]


async def test_append_every_kind_of_row_comes_back_as_it_was(ledger: Ledger, database_url: str) -> None:
    """Levels, sources, pauses, reservations, requests and events are read as they were written."""
    log = await opened(ledger)
    lines = [Line("tee", "main", 2), Line("mug", "main", 1), Line("mug", "east", 3, settled=True)]
    held = Hold(created_seq=1, seq=1, reference="cart-1", customer="kim", lines=lines)
    sold = Hold(state="fulfilled", created_seq=2, seq=3, ended_ms=NOW_MS + 5)
    request = RequestRow("r" * 22, "reserve", "0123456789abcdef", held.random_part, 1, 1, NOW_MS)
    batch = add(
        log.next(3),
        level_row("tee", on_hand=2**53 - 1, held=2, seq=1),
        level_row("tee", "east", on_hand=-3, seq=2),
        SourceRow("main", "tee", "main", "erp", 2**53 - 1, 4, "d" * 16),
        SourceRow("main", "tee", "main", "wms", 7, 0, ""),
        SkuRow("main", "tee", True, "recall", 1, 3),
        held,
        sold,
        request,
    )
    batch.events[1] = replace(batch.events[1], reservation=held.random_part, payload="E\tx\nL\t…")

    assert await ledger.append(batch)

    sku = await ledger.read_sku("main", "tee")
    assert sku is not None
    assert (sku.paused, sku.reason, sku.epoch, sku.seq) == (True, "recall", 1, 3)
    assert sku.levels["main"].pack() == f"{2**53 - 1} 2 0 0 0 1 1 1 {NOW_MS + 1}"
    assert sku.levels["main"].pack_sources() == f"erp\t{2**53 - 1}\t4\t{'d' * 16}\nwms\t7\t0\t"
    assert sku.levels["east"].pack() == f"-3 0 0 0 0 2 1 2 {NOW_MS + 2}"
    assert await ledger.read_reservation(held.random_part) == held.packed()
    assert await ledger.read_reservation(sold.random_part) == sold.packed()
    assert await ledger.read_request("r" * 22) == request
    assert await ledger.read_events(0, 0, 10) == batch.events
    assert await run_sql(
        database_url,
        "SELECT shop, sku, location, on_hand, held, version, shard, epoch, seq FROM levels ORDER BY location",
    ) == [
        ("main", "tee", "east", -3, 0, 2, 0, 1, 2),
        ("main", "tee", "main", 2**53 - 1, 2, 1, 0, 1, 1),
    ]
    assert await run_sql(database_url, "SELECT sku FROM reservation_skus ORDER BY sku") == [("mug",), ("tee",)]


@pytest.mark.parametrize("odd", ODD)
async def test_append_odd_skus_are_told_apart_and_found_again(ledger: Ledger, odd: str) -> None:
    """Any Unicode text is a sku, a location, a source and a reference, and equals itself alone."""
    log = await opened(ledger)
    hold = Hold(reference=odd, customer=odd, lines=[Line(odd, odd, 1), Line("tee", "main", 1)])

    await stored(
        ledger,
        log,
        level_row(odd, odd),
        level_row("tee"),
        SourceRow("main", odd, odd, odd, 1, 0, odd),
        SkuRow("main", odd, True, odd, 1, 1),
        hold,
    )

    found = await ledger.read_skus("main", [odd, "tee", "missing", f"{odd}x"])
    assert set(found) == {odd, "tee"}
    assert found[odd].reason == odd
    assert found[odd].levels[odd].sources[odd].digest == odd
    assert await ledger.read_reservation(hold.random_part) == hold.packed()


@pytest.mark.parametrize("sign", SIGNS)
async def test_append_new_rows_are_stored_column_by_column_whatever_signs_they_hold(
    ledger: Ledger, database_url: str, sign: str
) -> None:
    """Signs that mean something to a way of loading, empty words and columns without a value are told apart, in each column."""
    word = f"{sign}w"
    log = await opened(ledger)
    plain = Hold(created_seq=1, seq=1, lines=[Line("tee", "main", 1), Line("mug", "main", 1)])
    odd = Hold(created_seq=2, seq=3, reference=word, customer=sign, ended_ms=NOW_MS + 5, lines=[Line(word, "main", 1)])
    batch = add(log.next(3), plain, odd, RequestRow(word, "reserve", sign, "", 1, 2, NOW_MS))
    batch.events[1] = EventRow(1, 2, 3, "stock.released", NOW_MS + 7, word, word, sign, word)

    assert await ledger.append(batch)

    for one in written(batch):
        columns = ", ".join(written_columns(one.table))
        stored_rows = await run_sql(database_url, f"SELECT {columns} FROM {one.table.name}")
        assert sorted(map(repr, map(tuple, stored_rows))) == sorted(map(repr, one.rows())), one.table.name


async def test_append_newest_row_of_a_key_stays(ledger: Ledger, database_url: str) -> None:
    """What a later batch tells of a level, source, pause, reservation or request replaces the earlier row."""
    log = await opened(ledger)
    hold = Hold(lines=[Line("tee", "main", 1), Line("mug", "main", 1)])
    request = RequestRow("k" * 22, "reserve", "a" * 16, hold.random_part, 1, 1, NOW_MS)
    source = SourceRow("main", "tee", "main", "erp", 1, 0, "x")
    log = await stored(
        ledger, log, level_row("tee", held=1), source, SkuRow("main", "tee", True, "", 1, 1), hold, request
    )

    confirmed = replace(hold, state="confirmed", seq=2)
    await stored(
        ledger,
        log,
        level_row("tee", committed=1, seq=2),
        replace(source, sequence=9),
        SkuRow("main", "tee", False, "", 1, 2),
        confirmed,
        replace(request, fingerprint="b" * 16, seq=2),
    )

    sku = await ledger.read_sku("main", "tee")
    assert sku is not None
    assert (sku.levels["main"].held, sku.levels["main"].committed, sku.paused) == (0, 1, False)
    assert sku.levels["main"].sources["erp"].sequence == 9
    assert await ledger.read_reservation(hold.random_part) == confirmed.packed()
    assert (await ledger.read_request("k" * 22)) == replace(request, fingerprint="b" * 16, seq=2)
    assert await rows_stored(database_url) == {
        "events": 2,
        "levels": 1,
        "level_sources": 1,
        "skus": 1,
        "reservations": 1,
        "reservation_skus": 2,
        "requests": 1,
    }


async def refused_as_corrupt(ledger: Ledger, url: str, log: Log, batch: Batch) -> None:
    """The batch raises the alarm, no table gains a row, and the ledger goes on working."""
    before = await rows_stored(url)
    with pytest.raises(LedgerCorrupt):
        await ledger.append(batch)
    assert await rows_stored(url) == before
    assert log.at(await ledger.read_shard(log.shard))
    await stored(ledger, log)


async def test_append_event_that_is_there_already_is_an_alarm(ledger: Ledger, database_url: str) -> None:
    """A seq beyond the checkpoint that is taken: the gate passed, the events collide, all is void."""
    log = await opened(ledger)
    await run_sql(
        database_url,
        "INSERT INTO events (shard, seq, epoch, entry_seq, type, at_ms, shop, payload, digest)"
        " VALUES (0, 2, 1, 2, 'stock.reserved', 0, 'main', '', '')",
    )
    before = await rows_stored(database_url)

    with pytest.raises(LedgerCorrupt):
        await ledger.append(add(log.next(3), level_row("tee"), Hold()))

    assert await rows_stored(database_url) == before
    assert log.at(await ledger.read_shard(0))


async def test_append_new_reservation_that_is_there_already_is_an_alarm(ledger: Ledger, database_url: str) -> None:
    """A reservation created within the batch cannot be stored yet: two would share one id."""
    hold = Hold()
    log = await stored(ledger, await opened(ledger), hold)

    batch = add(log.next(), replace(hold, created_seq=2, seq=2))

    await refused_as_corrupt(ledger, database_url, log, batch)


async def test_append_events_with_a_gap_are_an_alarm(ledger: Ledger, database_url: str) -> None:
    """A batch whose events are not exactly its seqs is not sent."""
    log = await opened(ledger)
    batch = log.next(3)
    del batch.events[1]

    await refused_as_corrupt(ledger, database_url, log, batch)


async def test_append_without_events_is_an_alarm(ledger: Ledger, database_url: str) -> None:
    """There is no empty batch: it could only move the digest."""
    log = await opened(ledger)
    batch = replace(log.next(), last_seq=log.seq, events=[])

    await refused_as_corrupt(ledger, database_url, log, batch)


@pytest.mark.parametrize("seq", [1, 5])
async def test_append_row_from_outside_the_batch_is_an_alarm(ledger: Ledger, database_url: str, seq: int) -> None:
    """A row older than the batch could undo a newer one; one beyond it belongs to nobody yet."""
    log = await stored(ledger, await opened(ledger), level_row("tee"))

    await refused_as_corrupt(ledger, database_url, log, add(log.next(2), level_row("mug", seq=seq)))


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
async def test_append_text_that_is_not_unicode_is_an_alarm(ledger: Ledger, database_url: str, text: str) -> None:
    """Half a surrogate pair cannot be stored, and is not stored as something else."""
    log = await opened(ledger)
    batch = log.next()
    batch.events[0] = replace(batch.events[0], payload=text)

    await refused_as_corrupt(ledger, database_url, log, batch)


async def test_append_number_beyond_the_columns_is_an_alarm(ledger: Ledger, database_url: str) -> None:
    """A counter that does not fit into 64 bits is refused, not cut."""
    log = await opened(ledger)

    await refused_as_corrupt(ledger, database_url, log, add(log.next(), level_row("tee", on_hand=2**63)))


async def test_append_request_beside_other_rows_that_come_back_keeps_both(ledger: Ledger, database_url: str) -> None:
    """A key that is used again after its record was forgotten overwrites, and the rest of the batch is stored."""
    old = RequestRow("k" * 22, "reserve", "a" * 16, "", 1, 1, NOW_MS)
    log = await stored(ledger, await opened(ledger), old)
    new = [replace(old, seq=2, target="t"), replace(old, record="n" * 22, seq=2)]

    await stored(ledger, log, *new, level_row("tee", seq=2), Hold(created_seq=2, seq=2))

    assert [await ledger.read_request(row.record) for row in new] == new
    assert (await rows_stored(database_url))["reservations"] == 1


async def test_append_two_thousand_events_is_one_batch(ledger: Ledger, database_url: str) -> None:
    """A long batch is stored like a short one; events come back by page, in order."""
    log = await opened(ledger)
    batch = log.next(2_000)
    add(batch, *(Hold(created_seq=seq, seq=seq, created_ms=NOW_MS + seq) for seq in range(1, 2_001)))
    add(batch, *(level_row(f"sku-{number}", seq=number + 1) for number in range(100)))

    assert await ledger.append(batch)

    pages = [await ledger.read_events(0, after, 700) for after in (0, 700, 1_400, 2_000)]
    assert [len(page) for page in pages] == [700, 700, 600, 0]
    assert [event for page in pages for event in page] == batch.events
    assert (await rows_stored(database_url))["reservations"] == 2_000
