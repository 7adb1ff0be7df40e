"""Single SQLite connections: how they are opened and how they are thrown away."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

import aiosqlite

from gateway.durable.ledger import LedgerUnavailable
from gateway.durable.sqlite_errors import DRIVER_ERRORS, meaning

#: How long a statement waits for another process that writes, as PostgreSQL's lock timeout.
BUSY_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 0.02

#: Pages of the log before they are copied into the file. SQLite's own 1,000 copy the same pages of the indexes again
#: and again: with batches of 2,000 events 4,000 took a tenth to two fifths off the time, for a log of some 35 MB.
_CHECKPOINT_PAGES: Final = 4_000
_CACHE_KIB: Final = 32_768
_LOG_BYTES_MAX: Final = 67_108_864

_WRITER: Final = (
    # FULL: a commit is on the disk when it is answered. In WAL, NORMAL would lose the last ones with the power.
    "PRAGMA synchronous = FULL",
    f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}",
    f"PRAGMA journal_size_limit = {_LOG_BYTES_MAX}",
    f"PRAGMA cache_size = -{_CACHE_KIB}",
)
_READER: Final = ("PRAGMA query_only = ON",)


async def connect_writer(path: Path) -> aiosqlite.Connection:
    """A connection that writes durably; the file exists and keeps a write-ahead log."""
    raw = await _connect(path, _WRITER)
    try:
        await _keep_log(raw, path)
    except BaseException:
        await discard(raw)
        raise
    return raw


async def connect_reader(path: Path, *, is_read_only: bool = False) -> aiosqlite.Connection:
    """A connection that cannot write. With `is_read_only` it does not even tidy the log up when it is the last to leave."""
    return await _connect(path, _READER, is_read_only=is_read_only)


def log_of(path: Path) -> Path:
    """The write-ahead log beside the file; it is gone when the last connection that may write was closed."""
    return path.with_name(f"{path.name}-wal")


async def tidy_up(path: Path) -> None:
    """An empty log is gone with its index, such as reading has made, unless somebody works on the file. The file is as it was.

    SQLite removes both when a connection closes that may write and is the last one. One that may only read leaves them.
    """
    try:
        if log_of(path).stat().st_size:
            return  # somebody writes, or a crash has left it: then the next writer needs it
        raw = await _open_file(path, "rw")
    except (FileNotFoundError, LedgerUnavailable):
        return
    with suppress(*DRIVER_ERRORS):  # a file or a folder that may only be read stays as it is
        await raw.execute_fetchall("PRAGMA schema_version")
    await discard(raw)


async def discard(raw: aiosqlite.Connection) -> None:
    """The connection is closed, its transaction rolled back, its thread ended."""
    # Whoever throws a connection away has an error in hand that says more than a failing close would.
    with suppress(*DRIVER_ERRORS):
        await raw.close()


async def _connect(path: Path, settings: tuple[str, ...], *, is_read_only: bool = False) -> aiosqlite.Connection:
    raw = await _open_file(path, "ro" if is_read_only else "rwc")
    try:
        for setting in settings:
            await raw.execute(setting)
    except DRIVER_ERRORS as exc:
        await discard(raw)
        raise meaning(exc) from exc
    except BaseException:
        await discard(raw)
        raise
    return raw


async def _open_file(path: Path, mode: Literal["ro", "rw", "rwc"]) -> aiosqlite.Connection:
    """A connection that may only read, may write, or makes the file where there is none."""
    target = f"file:{quote(str(path))}?mode={mode}"
    # Without an isolation level the driver begins no transaction of its own: ours are written out.
    raw = aiosqlite.connect(target, isolation_level=None, timeout=BUSY_SECONDS, uri=True)
    # The driver offers no other way to its thread. As a daemon it does not keep a process alive that fails with
    # the file open, and SQLite needs no farewell.
    thread = raw._thread
    thread.daemon = True
    try:
        return await raw
    except BaseException as exc:
        # The driver leaves its thread to end by itself, which goes wrong when the event loop is gone before.
        if thread.is_alive():
            await asyncio.shield(asyncio.to_thread(thread.join))
        if isinstance(exc, DRIVER_ERRORS):
            raise LedgerUnavailable(f"{path} cannot be opened: {exc}") from exc
        raise


async def _keep_log(raw: aiosqlite.Connection, path: Path) -> None:
    """The file is in WAL mode. Where several switch a new file at once, SQLite does not wait: we do."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            ((mode,),) = await raw.execute_fetchall("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            is_busy = exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > deadline:
                raise meaning(exc) from exc
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        except DRIVER_ERRORS as exc:
            raise meaning(exc) from exc
        if mode != "wal":
            raise LedgerUnavailable(f"SQLite cannot keep a write-ahead log beside {path}: put it on a local disk")
        return
