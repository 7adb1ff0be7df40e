"""The durable running totals: by what an append moves them, and what an append refuses whose totals are others."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.domain.totals import Totals
from gateway.durable import migration
from gateway.durable.ledger import Batch, Ledger, LedgerCorrupt, TotalsDiffer
from tests.contract.batches import Hold, Log, add, level_row, opened, stored
from tests.contract.conftest import LedgerMaker
from tests.contract.sql import rows_stored, run_sql


async def totals(ledger: Ledger, shard: int = 0) -> Totals:
    """What the shard's row counts."""
    return (await ledger.read_shard(shard)).totals


async def summed(url: str, shard: int = 0) -> Totals:
    """What the stored levels add up to."""
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in Totals._fields)
    ((*found,),) = await run_sql(url, f"SELECT {sums} FROM levels WHERE shard = {shard}")
    return Totals(*map(int, found))


def telling(batch: Batch, totals: Totals, seq: int | None = None) -> Batch:
    """The batch with a checkpoint event, its last one if no other is named."""
    batch.totals[seq or batch.last_seq] = totals
    return batch


async def test_totals_of_a_new_shard_are_nothing(ledger: Ledger) -> None:
    """No level, no units."""
    await opened(ledger)

    assert await totals(ledger) == Totals(0, 0, 0, 0)


async def test_totals_move_with_levels_that_come_and_change(ledger: Ledger, database_url: str) -> None:
    """A new level counts whole, a changed one by what changed, one that stays not at all, in any order and number."""
    log = await opened(ledger)
    names = [f"sku-{number}" for number in range(300)]
    log = await stored(ledger, log, *[level_row(name, on_hand=number, held=2) for number, name in enumerate(names)])
    assert await totals(ledger) == Totals(600, sum(range(300)), 0, 0)

    changed = replace(level_row("sku-7", "east", on_hand=5, committed=4, seq=3), deducted=6)
    log = await stored(ledger, log, level_row("sku-7", on_hand=1, seq=2), level_row("new", held=9, seq=2), changed)

    assert await totals(ledger) == await summed(database_url)
    assert await totals(ledger) == Totals(600 - 2 + 9, sum(range(300)) - 6 + 10 + 5, 4, 6)


async def test_totals_of_odd_names_and_of_other_shards_are_kept_apart(ledger: Ledger, database_url: str) -> None:
    """Each level is found by its whole name, whatever is in it, and counts for its own shard."""
    log, other = await opened(ledger), await opened(ledger, shard=1)
    odd = ['a"b\\c', "e\u0301", "\u00e9", "[1]", "$[0]", "👖", "a', 'b"]
    levels = [level_row(name, location, held=10**at) for at, name in enumerate(odd) for location in odd]
    levels += [level_row(odd[0], f"place {at}", on_hand=at, held=at * at) for at in range(20)]
    log = await stored(ledger, log, *levels)
    await stored(ledger, other, level_row("elsewhere", held=100))

    again = [replace(row, held=row.held + 1, version=2, seq=2) for row in levels if row.location != odd[1]]
    await stored(ledger, log, *again)

    assert await totals(ledger) == await summed(database_url)
    assert await totals(ledger, 1) == await summed(database_url, 1) == Totals(100, 10, 0, 0)


@pytest.mark.parametrize("name", Totals._fields)
async def test_totals_move_by_the_rows_and_not_by_what_was_meant(ledger: Ledger, database_url: str, name: str) -> None:
    """A durable counter that was changed by hand parts the totals from the levels, from the level's next change on."""
    log = await stored(ledger, await opened(ledger), level_row("tee", held=1))
    await run_sql(database_url, f"UPDATE levels SET {name} = {name} + 7")
    before = await totals(ledger)

    await stored(ledger, log, level_row("tee", held=1, seq=2))

    assert (await totals(ledger)).against(before) == [(name, getattr(before, name) - 7, getattr(before, name))]
    assert await summed(database_url) == before


async def test_append_that_the_gate_refuses_moves_no_total(ledger: Ledger) -> None:
    """A fenced writer counts nothing."""
    log = await stored(ledger, await opened(ledger), level_row("tee", held=1))

    assert not await ledger.append(add(replace(log.next(), epoch=7), level_row("tee", held=5, seq=2)))

    assert await totals(ledger) == Totals(1, 10, 0, 0)


async def test_append_whose_checkpoint_tells_the_same_totals_is_stored(ledger: Ledger) -> None:
    """The totals are compared after the whole batch, with levels or without."""
    log = await stored(ledger, await opened(ledger), level_row("tee", held=1))
    batch = telling(add(log.next(2), level_row("tee", held=4, seq=2)), Totals(4, 10, 0, 0))
    assert await ledger.append(batch)
    log = log.moved_past(batch)

    assert await ledger.append(telling(log.next(), Totals(4, 10, 0, 0)))


@pytest.mark.parametrize("name", Totals._fields)
async def test_append_whose_checkpoint_tells_other_totals_stores_nothing(
    ledger: Ledger, database_url: str, name: str
) -> None:
    """The error names the total, both values and the place; the shard is where it was, and can be halted at once."""
    log = await stored(ledger, await opened(ledger), level_row("tee", held=1))
    before = await rows_stored(database_url), await ledger.read_shard(0)
    right = Totals(3, 10, 0, 0)
    told = right._replace(**{name: getattr(right, name) + 2})
    batch = telling(add(log.next(2), level_row("tee", held=3, seq=3), Hold(created_seq=2, seq=2)), told)

    with pytest.raises(TotalsDiffer) as refused:
        await ledger.append(batch)

    values = f"{name} is {getattr(told, name)} in Redis and {getattr(right, name)} here"
    assert str(refused.value) == f"the totals of shard 0 differ at seq 3 of epoch {log.epoch}: {values}"
    assert (await rows_stored(database_url), await ledger.read_shard(0)) == before
    async with asyncio.timeout(30):
        assert await ledger.halt(0, log.epoch, str(refused.value))


@pytest.mark.parametrize("seqs", [[2], [2, 4]])
async def test_append_with_a_checkpoint_before_its_end_is_an_alarm(
    ledger: Ledger, database_url: str, seqs: list[int]
) -> None:
    """What came after it in the batch would be in the durable totals, and not in those that it told."""
    log = await stored(ledger, await opened(ledger), level_row("tee"))
    batch = log.next(3)
    for seq in seqs:
        telling(batch, Totals(on_hand=10), seq)
    before = await rows_stored(database_url)

    with pytest.raises(LedgerCorrupt, match="told its totals"):
        await ledger.append(batch)

    assert await rows_stored(database_url) == before


async def test_prepare_counts_the_levels_of_an_older_store(
    another_ledger: LedgerMaker, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of the version before gets the totals of what it has, shard by shard, and goes on from there."""
    ledger = await another_ledger()
    with monkeypatch.context() as older:
        older.setattr(migration, "newest", lambda: "0003")
        await ledger.prepare("auto")
    columns = (
        "shop, sku, location, on_hand, held, committed, deducted, safety_stock, version, shard, epoch, seq, updated_ms"
    )
    for shard in (0, 1):
        await run_sql(
            database_url,
            "INSERT INTO shards (shard, epoch, generation, state, owner, owner_deadline_ms, checkpoint, digest, rebuilt_ms)"
            f" VALUES ({shard}, 3, 2, 'open', 'gateway-1', 0, 12, '{'d' * 40}', 0)",
        )
    for number in range(5):
        await run_sql(
            database_url,
            f"INSERT INTO levels ({columns}) VALUES ('main', 'sku-{number}', 'main', {10**9}, 1, 2, 3, 0, 1, 1, 3, 9, 0)",
        )

    await ledger.prepare("auto")

    row = await ledger.read_shard(1)
    assert (await totals(ledger), row.totals) == (Totals(0, 0, 0, 0), Totals(5, 5 * 10**9, 10, 15))
    assert (row.epoch, row.checkpoint, row.state) == (3, 12, "open")
    await stored(ledger, Log(1, 3, 12, "d" * 40), level_row("sku-1", on_hand=10**9, held=4, seq=13))
    assert await totals(ledger, 1) == Totals(8, 5 * 10**9, 8, 12)
