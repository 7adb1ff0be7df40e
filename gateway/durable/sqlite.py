"""SQLite: one writer, and readers that each see the last commit while it writes (WAL)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import aiosqlite
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from gateway.durable.database import Connection, Row
from gateway.durable.filesystem import unwise_place
from gateway.durable.ledger import LedgerUnavailable
from gateway.durable.migration import migrate_sqlite
from gateway.durable.rows import Batch
from gateway.durable.sqlite_append import append
from gateway.durable.sqlite_connection import connect_reader, connect_writer, discard, tidy_up
from gateway.durable.sqlite_errors import meaning, translated, translated_commit
from gateway.durable.statement import DialectName, Statement


class SqliteConnection:
    """One connection for one block."""

    dialect: DialectName = "sqlite"

    def __init__(self, raw: aiosqlite.Connection, timeout_ms: int) -> None:
        self._raw = raw
        self._timeout_ms = timeout_ms

    async def fetch(self, statement: Statement, **given: Any) -> Sequence[Row]:
        sql, values = statement.bound(self.dialect, given)
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                with translated():
                    return list(await self._raw.execute_fetchall(sql, values))
        except (TimeoutError, asyncio.CancelledError) as exc:
            # The thread is still at it; whoever throws the connection away need not wait for it.
            await self._raw.interrupt()
            if isinstance(exc, TimeoutError):
                raise LedgerUnavailable(f"a query took longer than {self._timeout_ms} ms") from exc
            raise

    async def execute(self, statement: Statement, **given: Any) -> int:
        sql, values = statement.bound(self.dialect, given)
        with translated():
            return (await self._raw.execute(sql, values)).rowcount


class SqliteDatabase:
    """The durable store in one SQLite file.

    A connection on which anything failed is closed instead of put back, which also rolls its transaction back.
    """

    def __init__(
        self,
        path: Path,
        *,
        pool_size: int,
        pool_timeout_ms: int,
        statement_timeout_ms: int,
        is_read_only: bool = False,
    ) -> None:
        self._is_read_only = is_read_only
        self._path = path
        self._pool_timeout_ms = pool_timeout_ms
        self._statement_timeout_ms = statement_timeout_ms
        self._is_open = False
        self._writer: aiosqlite.Connection | None = None
        self._writer_free = asyncio.Lock()
        self._readers: list[aiosqlite.Connection] = []
        self._readers_free = asyncio.Semaphore(pool_size)

    async def open(self) -> None:
        """Connections can be made; the file exists. Its folder must exist before, and to only read it, the file as well."""
        if self._is_open:
            return
        if self._is_read_only:
            self._readers.append(await connect_reader(self._path, is_read_only=True))
        else:
            self._writer = await connect_writer(self._path)
        self._is_open = True

    async def close(self) -> None:
        """No connection is left; who still works on one closes it at the end."""
        self._is_open = False
        idle = [*self._readers, *([] if self._writer is None else [self._writer])]
        self._readers.clear()
        self._writer = None
        for raw in idle:
            await discard(raw)
        if self._is_read_only:
            await tidy_up(self._path)

    async def migrate(self, mode: Literal["auto", "refuse"]) -> None:
        """The schema is this version's."""
        engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(self._path)), poolclass=NullPool)
        try:
            await migrate_sqlite(engine, mode)
        except DBAPIError as exc:
            raise meaning(exc.orig or exc) from exc
        finally:
            await engine.dispose()

    async def advice(self) -> list[str]:
        """What is unwise about the place of the file."""
        found = await asyncio.to_thread(unwise_place, self._path)
        return [] if found is None else [found]

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection on which each statement sees the newest state."""
        async with self._borrowed_reader() as raw:
            yield SqliteConnection(raw, self._statement_timeout_ms)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """A connection on which all statements see the state at the first one."""
        async with self._borrowed_reader() as raw:
            with translated():
                await raw.execute("BEGIN")
            yield SqliteConnection(raw, self._statement_timeout_ms)
            with translated():
                await raw.execute("ROLLBACK")

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """A durable transaction, committed at the end of the block."""
        async with self._borrowed_writer() as raw:
            with translated():
                await raw.execute("BEGIN IMMEDIATE")
            yield SqliteConnection(raw, self._statement_timeout_ms)
            with translated_commit():
                await raw.execute("COMMIT")

    async def append(self, batch: Batch, owner: str | None) -> bool:
        """As `Ledger.append`."""
        async with self._borrowed_writer() as raw:
            with translated():
                return await append(raw, batch, owner)

    @asynccontextmanager
    async def _borrowed_reader(self) -> AsyncIterator[aiosqlite.Connection]:
        await self._wait(self._readers_free)
        try:
            raw = (
                self._readers.pop()
                if self._readers
                else await connect_reader(self._path, is_read_only=self._is_read_only)
            )
            try:
                yield raw
            except BaseException:
                await asyncio.shield(discard(raw))
                raise
            if self._is_open:
                self._readers.append(raw)
            else:
                await discard(raw)
        finally:
            self._readers_free.release()

    @asynccontextmanager
    async def _borrowed_writer(self) -> AsyncIterator[aiosqlite.Connection]:
        if self._is_read_only:
            raise LedgerUnavailable("the durable store was opened to be read only")
        await self._wait(self._writer_free)
        try:
            raw, self._writer = self._writer or await connect_writer(self._path), None
            try:
                yield raw
            except BaseException:
                # What was being executed is finished first, then rolled back; until then nobody else may write.
                await asyncio.shield(discard(raw))
                raise
            if self._is_open:
                self._writer = raw
            else:
                await discard(raw)
        finally:
            self._writer_free.release()

    async def _wait(self, turn: asyncio.Lock | asyncio.Semaphore) -> None:
        if not self._is_open:
            raise LedgerUnavailable("the durable store is not open")
        try:
            async with asyncio.timeout(self._pool_timeout_ms / 1000):
                await turn.acquire()
        except TimeoutError as exc:
            raise LedgerUnavailable(
                f"no connection to {self._path} was free within {self._pool_timeout_ms} ms"
            ) from exc
