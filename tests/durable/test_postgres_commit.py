"""PostgreSQL: what is committed, what is not, and what nobody can know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest

from gateway.durable.ledger import CommitUnknown, Ledger, LedgerUnavailable
from gateway.durable.postgres_frozen import APPLICATION
from gateway.durable.postgres_transaction import BEGIN, commit
from gateway.embedded import PrivatePostgres
from tests.contract.batches import OWNER, Hold, Log, add, level_row, opened, stored
from tests.contract.sql import rows_stored, run_sql
from tests.durable.conftest import LedgerMaker
from tests.durable.cutting_proxy import Cut, cutting_proxy

WAITING = """
    SELECT pid, wait_event_type, wait_event FROM pg_stat_activity
    WHERE application_name = 'reservation-gateway' AND datname = current_database()
      AND wait_event_type = $1 AND ($2 = '' OR wait_event = $2)
"""


async def pid_waiting(connection: asyncpg.Connection[asyncpg.Record], kind: str, event: str = "") -> int:
    """The process id of a gateway's backend once it waits for this kind of event."""
    while True:
        rows = await connection.fetch(WAITING, kind, event)
        if rows:
            return int(rows[0]["pid"])
        await asyncio.sleep(0.01)


async def test_append_whose_backend_is_killed_in_the_middle_wrote_nothing(
    patient_locks: None, postgres_ledger: Ledger, postgres_url: str
) -> None:
    """The gate had passed when the server ended the connection: nothing of the batch is there, the next one works."""
    log = await opened(postgres_ledger)
    other = await asyncpg.connect(postgres_url)
    blocking = other.transaction()
    await blocking.start()
    # An uncommitted event with the batch's seq: the append passes the gate and then waits for this transaction.
    await other.execute("INSERT INTO events VALUES (0, 1, 1, 1, 'stock.reserved', 0, 'main', NULL, '', '')")

    appending = asyncio.create_task(postgres_ledger.append(add(log.next(), level_row("tee"))))
    victim = await pid_waiting(other, "Lock")
    await other.execute("SELECT pg_terminate_backend($1)", victim)

    with pytest.raises(LedgerUnavailable):
        await appending
    await blocking.rollback()
    await other.close()
    assert set((await rows_stored(postgres_url)).values()) == {0}
    assert log.at(await postgres_ledger.read_shard(0))
    await stored(postgres_ledger, log)


async def test_append_that_waits_for_a_lock_gives_up_in_time(postgres_ledger: Ledger, postgres_url: str) -> None:
    """Another transaction sits on the shard's row: the append ends after its lock timeout and leaves nothing."""
    log = await opened(postgres_ledger)
    other = await asyncpg.connect(postgres_url)
    blocking = other.transaction()
    await blocking.start()
    await other.execute("SELECT * FROM shards FOR UPDATE")

    with pytest.raises(LedgerUnavailable, match="55P03"):
        await asyncio.wait_for(postgres_ledger.append(log.next()), 60)

    await blocking.rollback()
    await other.close()
    await stored(postgres_ledger, log)


@pytest.mark.parametrize(("cut", "is_there"), [("before", False), ("after", True), ("silence", True)])
async def test_append_whose_commit_is_cut_off_is_unknown_until_the_gate_tells(
    postgres_ledger: Ledger, ledger_at: LedgerMaker, postgres_url: str, cut: Cut, is_there: bool
) -> None:
    """A COMMIT without an answer is never taken for either: running the batch again tells which it was."""
    log = await opened(postgres_ledger)
    async with cutting_proxy(postgres_url) as (proxy, url):
        # Silence is waited for as long as a statement may take, and more.
        cut_off = await ledger_at(url, statement_timeout_ms=3_000 if cut == "silence" else 60_000)
        batch = add(log.next(2), level_row("tee"), Hold())
        proxy.cut = cut

        with pytest.raises(CommitUnknown):
            await cut_off.append(batch)
        assert proxy.cuts == 1
        proxy.cut = "never"

        assert log.moved_past(batch).at(await cut_off.read_shard(0)) is is_there
        assert await cut_off.append(batch) is not is_there
        assert log.moved_past(batch).at(await postgres_ledger.read_shard(0))
        assert (await rows_stored(postgres_url))["events"] == 2
        await cut_off.close()


async def test_raise_epoch_whose_commit_is_cut_off_is_unknown_and_the_row_tells(
    postgres_ledger: Ledger, ledger_at: LedgerMaker, postgres_url: str
) -> None:
    """A recoverer that lost the answer reads the row, and finds itself as the owner."""
    async with cutting_proxy(postgres_url) as (proxy, url):
        cut_off = await ledger_at(url)
        proxy.cut = "after"
        with pytest.raises(CommitUnknown):
            await cut_off.raise_epoch(0, 0, OWNER, 60_000)
        proxy.cut = "never"

        row = await cut_off.read_shard(0)

        assert (row.epoch, row.owner, row.state) == (1, OWNER, "recovering")
        assert await postgres_ledger.raise_epoch(0, 1, "gateway-2", 60_000) is None
        assert (await cut_off.raise_epoch(0, 1, OWNER, 60_000)) is not None
        await cut_off.close()


async def settings_within_append(ledger: Ledger, url: str, of_database: str) -> dict[str, str]:
    """What our transactions run under, told by a trigger, when the database is configured otherwise."""
    name = url.rpartition("/")[2]
    await run_sql(url, f'ALTER DATABASE "{name}" SET synchronous_commit = {of_database}')
    await run_sql(url, "CREATE TABLE told (setting TEXT, value TEXT)")
    await run_sql(
        url,
        """
        CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO told SELECT name, setting FROM pg_settings WHERE name IN
            ('synchronous_commit', 'lock_timeout', 'idle_in_transaction_session_timeout');
            RETURN NULL;
        END $$
        """,
    )
    await run_sql(url, "CREATE TRIGGER tells AFTER INSERT ON events EXECUTE FUNCTION tell()")
    await ledger.close()
    await ledger.open()
    await stored(ledger, await opened(ledger))
    return {row[0]: row[1] for row in await run_sql(url, "SELECT setting, value FROM told")}


async def test_append_sets_its_own_durability(postgres_ledger: Ledger, postgres_url: str) -> None:
    """synchronous_commit is off for the whole database, and on within our transactions; the advice tells of it."""
    assert await settings_within_append(postgres_ledger, postgres_url, "off") == {
        "synchronous_commit": "on",
        "lock_timeout": "2000",
        "idle_in_transaction_session_timeout": "3000",
    }
    assert any(told.startswith("synchronous_commit is off") for told in await postgres_ledger.advice())


async def test_append_keeps_a_stronger_durability(postgres_ledger: Ledger, postgres_url: str) -> None:
    """Who asked PostgreSQL to wait for a standby's replay is not given less."""
    told = await settings_within_append(postgres_ledger, postgres_url, "remote_apply")

    assert told["synchronous_commit"] == "remote_apply"


async def test_append_whose_standby_did_not_confirm_is_unknown(
    own_postgres: PrivatePostgres, ledger_at: LedgerMaker
) -> None:
    """A cancelled wait for the synchronous standby answers COMMIT with a warning: that is not durable as promised."""
    ledger = await ledger_at(own_postgres.url)
    log: Log = await opened(ledger)
    other = await asyncpg.connect(own_postgres.url)
    await other.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await other.execute("SELECT pg_reload_conf()")

    # The server takes a reloaded setting up when it gets to it: what was appended before that is just stored.
    while True:
        batch = log.next()
        appending = asyncio.create_task(ledger.append(batch))
        looking = asyncio.create_task(pid_waiting(other, "IPC", "SyncRep"))
        await asyncio.wait([appending, looking], return_when=asyncio.FIRST_COMPLETED)
        if looking.done():
            break
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        assert await appending
        log = log.moved_past(batch)
    await other.execute("SELECT pg_cancel_backend($1)", looking.result())

    with pytest.raises(CommitUnknown, match="might not have been replicated"):
        await appending
    await other.execute("ALTER SYSTEM RESET synchronous_standby_names")
    await other.execute("SELECT pg_reload_conf()")
    await other.close()
    assert log.moved_past(batch).at(await ledger.read_shard(0))
    await stored(ledger, log.moved_past(batch))


async def test_cancelled_work_leaves_no_transaction_behind(
    patient_locks: None, postgres_ledger: Ledger, postgres_url: str
) -> None:
    """A cancelled append's connection is cut off: soon no backend of ours sits in a transaction."""
    log = await opened(postgres_ledger)
    for seq in range(20):
        task = asyncio.create_task(postgres_ledger.append(add(log.next(50), level_row("tee", seq=log.seq + 1))))
        await asyncio.sleep(0.0005 * seq)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        log = Log(0, log.epoch, (row := await postgres_ledger.read_shard(0)).checkpoint, row.digest)

    busy = (
        "SELECT pid, state, query FROM pg_stat_activity WHERE application_name = 'reservation-gateway'"
        " AND datname = current_database() AND state <> 'idle'"
    )
    async with asyncio.timeout(30):
        while await run_sql(postgres_url, busy):  # noqa: ASYNC110 - the server tells nobody when a backend has ended
            await asyncio.sleep(0.02)
    await stored(postgres_ledger, log)


async def test_server_restart_is_one_failure_at_most(own_postgres: PrivatePostgres, ledger_at: LedgerMaker) -> None:
    """Connections that died with the server are not lent out again once it is back."""
    async with cutting_proxy(own_postgres.url) as (proxy, url):
        ledger = await ledger_at(url)
        log = await stored(ledger, await opened(ledger))
        await asyncio.gather(*(ledger.ping() for _ in range(4)))
        own_postgres.stop()
        with pytest.raises(LedgerUnavailable):
            await ledger.append(log.next())

        own_postgres.start()
        proxy.lead_to(own_postgres.url)

        assert log.at(await ledger.read_shard(0))
        await asyncio.gather(*(ledger.ping() for _ in range(4)))
        await stored(ledger, log)
        await ledger.close()


async def test_commit_of_a_failed_transaction_is_not_taken_for_one(postgres_url: str) -> None:
    """PostgreSQL answers such a COMMIT with the word ROLLBACK and no error: nothing was written."""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool, pool.acquire() as raw:
        await raw.execute("BEGIN; CREATE TABLE kept (it INTEGER)")
        with pytest.raises(asyncpg.UndefinedTableError):
            await raw.execute("INSERT INTO lost VALUES (1)")

        with pytest.raises(LedgerUnavailable, match="ROLLBACK"):
            await commit(raw)

    assert await run_sql(postgres_url, "SELECT to_regclass('kept') IS NULL") == [(True,)]


async def test_gateway_frozen_in_a_copy_does_not_block_the_others_for_ever(
    postgres_ledger: Ledger, postgres_url: str
) -> None:
    """It has moved the shard's row and sends no more rows: the server ends no such session. Who waits in vain does, and goes on."""
    log = await opened(postgres_ledger)
    frozen = await asyncpg.connect(postgres_url, server_settings={"application_name": APPLICATION})
    stands_still = asyncio.Event()

    async def never() -> AsyncIterator[bytes]:
        stands_still.set()
        await asyncio.Event().wait()
        yield b""

    await frozen.execute(f"{BEGIN}; SELECT * FROM shards FOR UPDATE")
    copying = asyncio.create_task(frozen.copy_to_table("events", source=never(), format="csv"))
    await stands_still.wait()
    batch = log.next()

    with pytest.raises(LedgerUnavailable, match="55P03"):
        await postgres_ledger.append(batch)
    async with asyncio.timeout(60):
        while not frozen.is_closed():
            with suppress(LedgerUnavailable):
                await postgres_ledger.append(batch)

    copying.cancel()
    await asyncio.gather(copying, return_exceptions=True)
    with suppress(LedgerUnavailable):
        await postgres_ledger.append(batch)
    assert (await postgres_ledger.read_shard(0)).checkpoint == batch.last_seq
