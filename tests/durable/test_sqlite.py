"""SQLite: what a file can do to a ledger, and what a ledger promises about the file."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.durable.ledger import CommitUnknown, Ledger, LedgerCorrupt, LedgerUnavailable
from gateway.durable.sqlite import SqliteDatabase
from gateway.durable.sqlite_connection import log_of
from gateway.durable.sqlite_errors import translated_commit
from gateway.durable.statement import Statement
from gateway.durable.stores import ledger_for
from tests.contract.batches import Hold, Log, add, opened, stored
from tests.contract.sql import run_sql
from tests.durable.conftest import LedgerMaker


def file_of(url: str) -> Path:
    """The file behind a SQLite URL."""
    return Path(url.removeprefix("sqlite:///"))


@contextmanager
def written_by_another(url: str) -> Iterator[sqlite3.Connection]:
    """Another process' transaction holds the file's write lock for the block."""
    with closing(sqlite3.connect(file_of(url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        other.execute("ROLLBACK")


async def test_append_while_another_process_writes_gives_up_in_time(sqlite_ledger: Ledger, sqlite_url: str) -> None:
    """A locked file is unavailable after the busy timeout; readers go on, and so does the writer once it is free."""
    log = await opened(sqlite_ledger)

    with written_by_another(sqlite_url):
        appending = asyncio.create_task(sqlite_ledger.append(log.next()))
        assert log.at(await sqlite_ledger.read_shard(0))
        with pytest.raises(LedgerUnavailable, match="locked"):
            await asyncio.wait_for(appending, 60)

    await stored(sqlite_ledger, log)


async def test_append_to_a_full_disk_is_unavailable_and_whole_afterwards(tmp_path: Path) -> None:
    """No room for a batch: nothing of it is there, reading works, and with room it is stored."""
    database = SqliteDatabase(tmp_path / "gateway.db", pool_size=2, pool_timeout_ms=30_000, statement_timeout_ms=30_000)
    await database.open()
    await database.migrate("auto")
    async with database.writing() as connection:
        for number in range(2):
            await connection.execute(
                Statement(
                    text(
                        "INSERT INTO shards"
                        " (shard, epoch, generation, state, owner, owner_deadline_ms, checkpoint, digest, rebuilt_ms)"
                        f" VALUES ({number}, 1, 1, 'open', '', 0, 0, '{'0' * 40}', 0)"
                    )
                )
            )
    batch = add(Log().next(500), *(Hold(created_seq=seq, seq=seq) for seq in range(1, 501)))
    # The limit is the writer's own, and gone with the connection that met it.
    assert database._writer is not None
    await database._writer.execute("PRAGMA max_page_count = 60")

    with pytest.raises(LedgerUnavailable, match="full"):
        await database.append(batch, None)

    async with database.reading() as connection:
        assert list(await connection.fetch(Statement(text("SELECT count(*) FROM events")))) == [(0,)]
    assert await database.append(batch, None)
    await database.close()


async def test_append_to_a_read_only_file_is_unavailable(sqlite_url: str, ledger_at: LedgerMaker) -> None:
    """A file that may only be read is not taken for a broken one."""
    ledger = await ledger_at(sqlite_url)
    log = await opened(ledger)
    database = ledger._database  # type: ignore[attr-defined]
    await database._writer.execute("PRAGMA query_only = ON")

    with pytest.raises(LedgerUnavailable, match="readonly"):
        await ledger.append(log.next())

    await stored(ledger, log)


@pytest.mark.parametrize(
    "content", [b"this is no database, whatever its name says" * 100, b"SQLite format 3\0" + b"\xff" * 8000]
)
async def test_open_a_file_that_is_no_database_is_an_alarm(sqlite_url: str, content: bytes) -> None:
    """Somebody else's file, or a damaged one, is left as it is."""
    file_of(sqlite_url).write_bytes(content)
    ledger = ledger_for(sqlite_url, pool_size=1, pool_timeout_ms=30_000, statement_timeout_ms=30_000)

    with pytest.raises(LedgerCorrupt):
        await ledger.open()

    assert file_of(sqlite_url).read_bytes() == content
    await ledger.close()


async def test_writer_waits_for_the_disk(sqlite_ledger: Ledger, sqlite_url: str) -> None:
    """A commit is on the disk when it is answered: write-ahead log, synchronous FULL, also on a reopened writer."""
    log = await opened(sqlite_ledger)
    database = sqlite_ledger._database  # type: ignore[attr-defined]
    broken = log.next()
    broken.events[0].payload = "\ud800"
    for batch in (None, broken):
        if batch is not None:
            with pytest.raises(LedgerCorrupt):
                await sqlite_ledger.append(batch)
            await stored(sqlite_ledger, log)

        assert list(await database._writer.execute_fetchall("PRAGMA synchronous")) == [(2,)]
        assert await run_sql(sqlite_url, "PRAGMA journal_mode") == [("wal",)]


async def test_reader_cannot_write(sqlite_ledger: Ledger) -> None:
    """There is one writer: a statement that would write through a reading connection fails."""
    await opened(sqlite_ledger)
    database = sqlite_ledger._database  # type: ignore[attr-defined]

    with pytest.raises(LedgerUnavailable, match="readonly"):
        async with database.reading() as connection:
            await connection.execute(Statement(text("DELETE FROM shards")))


async def test_query_that_takes_too_long_is_interrupted(sqlite_url: str, ledger_at: LedgerMaker) -> None:
    """A runaway query ends at the statement timeout, and its connection with it; the next one works."""
    ledger = await ledger_at(sqlite_url, statement_timeout_ms=60_000, pool_size=1)
    database = ledger._database  # type: ignore[attr-defined]
    endless = Statement(text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"))

    async def run() -> None:
        async with database.reading() as connection:
            await connection.fetch(endless)

    database._statement_timeout_ms = 100
    with pytest.raises(LedgerUnavailable, match="longer than 100 ms"):
        await asyncio.wait_for(run(), 30)

    database._statement_timeout_ms = 60_000
    await asyncio.wait_for(ledger.ping(), 30)


async def test_cancelled_query_does_not_hold_its_connection(sqlite_url: str, ledger_at: LedgerMaker) -> None:
    """A reader that goes away gives its place to the next one at once, though its query had not ended."""
    ledger = await ledger_at(sqlite_url, statement_timeout_ms=60_000, pool_size=1)
    database = ledger._database  # type: ignore[attr-defined]
    slow = Statement(text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"))

    async def run() -> None:
        async with database.reading() as connection:
            await connection.fetch(slow)

    task = asyncio.create_task(run())
    await asyncio.sleep(0.05)
    task.cancel()

    await asyncio.wait_for(ledger.ping(), 30)
    assert task.cancelled()


async def test_open_by_many_at_once_waits_for_each_other(patient_locks: None, tmp_path: Path) -> None:
    """Who switches a new file to a write-ahead log while others do is sometimes told that it is locked, and waits.

    Seen in one of a hundred opens, hence so many.
    """
    for number in range(25):
        url = f"sqlite:///{tmp_path / str(number)}"
        ledgers = [ledger_for(url, pool_size=1, pool_timeout_ms=30_000, statement_timeout_ms=30_000) for _ in range(8)]

        await asyncio.gather(*(ledger.open() for ledger in ledgers))

        for ledger in ledgers:
            await ledger.close()


def test_failing_disk_at_commit_is_unknown() -> None:
    """What was half synced may come back after a crash: only the gate can tell. Other errors void the transaction."""
    failing = sqlite3.OperationalError("disk I/O error")
    failing.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    with pytest.raises(CommitUnknown), translated_commit():
        raise failing
    with pytest.raises(LedgerUnavailable), translated_commit():
        raise full


KILLED = """
import asyncio, sys
from gateway.durable.stores import ledger_for
from tests.contract.batches import Hold, add, level_row, opened

async def main():
    ledger = ledger_for(sys.argv[1], pool_size=1, pool_timeout_ms=5000, statement_timeout_ms=5000)
    await ledger.open()
    await ledger.prepare("auto")
    log = await opened(ledger)
    while True:
        batch = add(log.next(20), level_row("tee", seq=log.seq + 20), Hold(created_seq=log.seq + 1, seq=log.seq + 1))
        assert await ledger.append(batch)
        log = log.moved_past(batch)
        print(log.seq, flush=True)

asyncio.run(main())
"""


def last_answer_of_a_killed_process(url: str) -> int:
    """Another process appends batch after batch and is killed; returns the last seq it was answered for."""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE, cwd=root, text=True) as process:
        assert process.stdout is not None
        try:
            answered = [process.stdout.readline() for _ in range(25)]
        finally:
            process.kill()
        return max(int(line) for line in [*answered, *process.stdout] if line.endswith("\n"))


async def test_killed_process_loses_nothing_that_was_answered(sqlite_url: str, ledger_at: LedgerMaker) -> None:
    """After kill -9 in the middle of appends: every answered batch is there, whole, without a gap."""
    answered = await asyncio.to_thread(last_answer_of_a_killed_process, sqlite_url)

    ledger = await ledger_at(sqlite_url)

    row = await ledger.read_shard(0)
    assert row.checkpoint >= answered
    assert row.checkpoint % 20 == 0
    seqs = [seq for (seq,) in await run_sql(sqlite_url, "SELECT seq FROM events ORDER BY seq")]
    assert seqs == list(range(1, row.checkpoint + 1))
    assert await run_sql(sqlite_url, "SELECT count(*) FROM reservations") == [(row.checkpoint // 20,)]
    assert await run_sql(sqlite_url, "SELECT seq FROM levels") == [(row.checkpoint,)]
    await stored(ledger, await opened(ledger))


FAILING = """
import asyncio, sys
from gateway.durable.stores import ledger_for

async def main():
    ledger = ledger_for(sys.argv[1], pool_size=1, pool_timeout_ms=5000, statement_timeout_ms=5000)
    await ledger.open()
    await ledger.ping()
    raise SystemExit("no farewell")

asyncio.run(main())
"""


def test_process_that_fails_with_the_file_open_ends(sqlite_url: str) -> None:
    """A crash is not turned into a hang by a thread of the driver."""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", FAILING, sqlite_url], cwd=root, capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.returncode == 1
    assert "no farewell" in ended.stderr


async def test_reading_alone_leaves_nothing_beside_a_file_that_nobody_works_on(
    sqlite_ledger: Ledger, sqlite_url: str
) -> None:
    """After a look at a stopped store its folder is as before; beside one that is at work the log stays, and so it does beside one
    that a crash has left."""
    path = file_of(sqlite_url)
    log = await opened(sqlite_ledger)
    await look(sqlite_url)
    assert names_beside(path) == {"-wal", "-shm"}
    await stored(sqlite_ledger, log)
    shutil.copy(path, crashed := path.with_name("crashed.db"))
    shutil.copy(log_of(path), log_of(crashed))
    left = log_of(crashed).read_bytes()
    await sqlite_ledger.close()
    before = path.read_bytes()

    await look(sqlite_url)
    await look(f"sqlite:///{crashed}")

    assert names_beside(path) == set()
    assert path.read_bytes() == before
    assert left
    assert log_of(crashed).read_bytes() == left


async def look(url: str) -> None:
    """The store was read as `gateway check --deep` does."""
    reader = ledger_for(url, pool_size=1, pool_timeout_ms=30_000, statement_timeout_ms=30_000, is_read_only=True)
    await reader.open()
    assert (await reader.read_shard(0)).epoch
    await reader.close()


def names_beside(path: Path) -> set[str]:
    """What the names of other files add to that of the file."""
    return {found.name.removeprefix(path.name) for found in path.parent.glob(f"{path.name}?*")}
