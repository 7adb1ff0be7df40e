"""PostgreSQL: servers that are refused, and how the tables behave in the one that is accepted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from gateway.durable import migration
from gateway.durable.ledger import Ledger, LedgerUnavailable, SchemaMismatch
from gateway.durable.stores import ledger_for
from gateway.embedded import PrivatePostgres
from tests.contract.batches import Hold, add, level_row, opened
from tests.contract.sql import run_sql
from tests.durable.conftest import LedgerMaker
from tests.durable.standby import standby_of


async def test_open_a_standby_is_refused(own_postgres: PrivatePostgres, short_path: Path) -> None:
    """A read-only standby answers late and takes no writes: it is told by that name, not as a failing write later."""
    own_postgres.stop()
    with standby_of(own_postgres, short_path) as url:
        ledger = ledger_for(url, pool_size=1, pool_timeout_ms=5_000, statement_timeout_ms=5_000)

        with pytest.raises(LedgerUnavailable, match="read-only standby"):
            await ledger.open()


async def test_open_with_a_wrong_password_is_unavailable_without_repeating_it(postgres_url: str) -> None:
    """Refused connections are told with the server's words; the password is not in them."""
    login, _, place = postgres_url.rpartition("@")
    wrong = login.rpartition(":")[0] + ":wr0ngs3cret@" + place
    ledger = ledger_for(wrong, pool_size=1, pool_timeout_ms=5_000, statement_timeout_ms=5_000)

    with pytest.raises(LedgerUnavailable, match="password authentication failed") as told:
        await ledger.open()

    assert "wr0ngs3cret" not in str(told.value)


async def test_open_a_database_that_does_not_exist_is_unavailable(postgres_url: str) -> None:
    """The server is there, the database is not: told by its name."""
    ledger = ledger_for(f"{postgres_url}_none", pool_size=1, pool_timeout_ms=5_000, statement_timeout_ms=5_000)

    with pytest.raises(LedgerUnavailable, match="_none"):
        await ledger.open()


async def test_prepare_a_database_of_another_encoding_is_refused(postgres_url: str) -> None:
    """A database that cannot hold every name is refused before anything is made."""
    parent, _, name = postgres_url.rpartition("/")
    latin = f"{name}_latin"
    await run_sql(postgres_url, f"CREATE DATABASE {latin} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    ledger = ledger_for(f"{parent}/{latin}", pool_size=1, pool_timeout_ms=5_000, statement_timeout_ms=5_000)
    await ledger.open()
    try:
        with pytest.raises(SchemaMismatch, match="LATIN1"):
            await ledger.prepare("auto")
    finally:
        await ledger.close()
        await run_sql(postgres_url, f"DROP DATABASE {latin} WITH (FORCE)")


async def test_prepare_waits_for_another_gateway_that_migrates(ledger_at: LedgerMaker, postgres_url: str) -> None:
    """While somebody holds the turn nothing is made; when the turn is free, it is."""
    other = await asyncpg.connect(postgres_url)
    await other.execute(f"SELECT pg_advisory_lock({migration._ADVISORY_KEY})")

    preparing = asyncio.ensure_future(ledger_at(postgres_url))
    done, _ = await asyncio.wait([preparing], timeout=0.4)
    assert not done
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert await run_sql(postgres_url, tables) == [(0,)]
    await other.execute(f"SELECT pg_advisory_unlock({migration._ADVISORY_KEY})")
    await other.close()

    await (await preparing).ping()


async def test_advice_of_a_server_without_fsync_says_so(own_postgres: PrivatePostgres, ledger_at: LedgerMaker) -> None:
    """What a power failure could destroy is told, a sentence each."""
    ledger = await ledger_at(own_postgres.url)

    assert [told.partition(" ")[0] for told in await ledger.advice()] == ["fsync", "full_page_writes"]


async def test_hot_level_is_updated_without_touching_an_index(
    own_postgres: PrivatePostgres, ledger_at: LedgerMaker
) -> None:
    """Flushes of one hot sku rewrite its row and the shard's within the page: no index grows."""
    ledger: Ledger = await ledger_at(own_postgres.url)
    log = await opened(ledger)
    for _ in range(60):
        batch = add(log.next(), level_row("tee", seq=log.seq + 1))
        assert await ledger.append(batch)
        log = log.moved_past(batch)
    # A backend hands its counts in when it ends.
    await ledger.close()

    async with asyncio.timeout(60):
        while True:
            counts = await run_sql(
                own_postgres.url,
                "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
                " WHERE relname IN ('levels', 'shards') ORDER BY 1",
            )
            # The shard's row twice per flush: by the gate, and by the totals.
            if [row[1] for row in counts] == [59, 122]:
                break
            await asyncio.sleep(0.05)

    # Now and then a page is full before its dead rows may go.
    assert all(hot >= updated - 3 for _, updated, hot in counts), counts


async def test_reservations_are_loaded_by_copy_and_changed_by_upsert(
    postgres_ledger: Ledger, postgres_url: str
) -> None:
    """A batch with new and changed reservations side by side keeps both; text with COPY's own signs is only text."""
    log = await opened(postgres_ledger)
    odd = Hold(reference="\\N", customer="\\.")
    first = add(log.next(), odd)
    assert await postgres_ledger.append(first)
    log = log.moved_past(first)

    second = add(
        log.next(),
        Hold(odd.random_part, "confirmed", reference="\\N", customer="\\.", seq=2),
        Hold(reference="a,b\"c'd", created_seq=2, seq=2),
    )
    assert await postgres_ledger.append(second)

    assert await run_sql(postgres_url, "SELECT state, reference, customer FROM reservations ORDER BY seq, state") == [
        ("confirmed", "\\N", "\\."),
        ("held", "a,b\"c'd", ""),
    ]
