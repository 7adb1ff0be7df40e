"""The schema: made once, by whoever is first; never touched when it is somebody else's or newer."""

from __future__ import annotations

import asyncio

import pytest

from gateway.durable.ledger import DeploymentMismatch, Ledger, LedgerError, SchemaMismatch
from gateway.durable.migration import newest
from tests.contract.batches import opened, stored
from tests.contract.conftest import LedgerMaker
from tests.contract.sql import run_sql


async def test_prepare_an_empty_store_makes_it_usable(ledger: Ledger, database_url: str) -> None:
    """After `prepare` the store takes a batch, and tells its version."""
    await stored(ledger, await opened(ledger))

    assert await run_sql(database_url, "SELECT version_num FROM schema_version") == [(newest(),)]


async def test_prepare_again_changes_nothing(ledger: Ledger) -> None:
    """A restart finds the schema as it left it, in either mode."""
    log = await stored(ledger, await opened(ledger))

    await ledger.prepare("auto")
    await ledger.prepare("refuse")

    assert log.at(await ledger.read_shard(0))


async def test_prepare_by_many_at_once_is_done_once(another_ledger: LedgerMaker) -> None:
    """Gateways that start on one empty store at the same moment all find it ready."""
    ledgers = await asyncio.gather(*(another_ledger() for _ in range(5)))

    await asyncio.gather(*(ledger.prepare("auto") for ledger in ledgers))

    await stored(ledgers[4], await opened(ledgers[0]))


async def test_prepare_refusing_an_empty_store_names_the_command(
    another_ledger: LedgerMaker, database_url: str
) -> None:
    """With `refuse` nothing is made, and the message says what to run."""
    ledger = await another_ledger()

    with pytest.raises(SchemaMismatch, match=rf"not there.*needs {newest()}: start once with"):
        await ledger.prepare("refuse")

    with pytest.raises(LedgerError):
        await ledger.read_shard(0)


async def test_prepare_a_newer_schema_names_both_versions(ledger: Ledger, database_url: str) -> None:
    """A store that a later version made is left alone, whatever the mode."""
    await run_sql(database_url, "UPDATE schema_version SET version_num = '9876'")

    for mode in ("auto", "refuse"):
        with pytest.raises(SchemaMismatch, match=rf"9876.*{newest()}"):
            await ledger.prepare(mode)

    assert await run_sql(database_url, "SELECT version_num FROM schema_version") == [("9876",)]


async def test_prepare_beside_somebody_elses_tables_is_refused(another_ledger: LedgerMaker, database_url: str) -> None:
    """A database with a table named like one of ours, but not made by us, is not migrated over."""
    await run_sql(database_url, "CREATE TABLE events (theirs INTEGER)")
    ledger = await another_ledger()

    with pytest.raises(SchemaMismatch, match="tables named events"):
        await ledger.prepare("auto")

    assert await run_sql(database_url, "SELECT theirs FROM events") == []


async def test_read_before_prepare_says_that_the_schema_is_missing(another_ledger: LedgerMaker) -> None:
    """An unprepared store is not mistaken for one that does not answer."""
    ledger = await another_ledger()
    await ledger.ping()

    with pytest.raises(SchemaMismatch):
        await ledger.read_shard(0)


async def test_deployment_is_settled_by_the_first(another_ledger: LedgerMaker) -> None:
    """The first gateway's settings and the minted id stay; all others get the same."""
    ledgers = [await another_ledger() for _ in range(4)]
    await ledgers[0].prepare("auto")

    settled = await asyncio.gather(*(ledger.settle_deployment(4, "fnv1a", "gw") for ledger in ledgers))

    assert len(set(settled)) == 1
    assert (settled[0].shards, settled[0].hash, settled[0].prefix) == (4, "fnv1a", "gw")
    assert len(settled[0].id) == 16


@pytest.mark.parametrize(
    ("other", "named"),
    [((8, "fnv1a", "gw"), "shards"), ((4, "crc32", "gw"), "hash"), ((4, "fnv1a", "x"), "prefix")],
)
async def test_deployment_with_another_setting_is_refused_by_name(
    ledger: Ledger, other: tuple[int, str, str], named: str
) -> None:
    """A gateway that would put a sku into another shard does not start, and hears which setting differs."""
    before = await ledger.settle_deployment(4, "fnv1a", "gw")

    with pytest.raises(DeploymentMismatch, match=rf"settings: {named} is"):
        await ledger.settle_deployment(*other)

    assert await ledger.settle_deployment(4, "fnv1a", "gw") == before
