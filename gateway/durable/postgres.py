"""PostgreSQL: a pool of asyncpg connections, each back in it only when its work ended well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Literal, cast

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from gateway.durable.database import Connection, Row
from gateway.durable.ledger import LedgerUnavailable
from gateway.durable.migration import migrate_postgres
from gateway.durable.postgres_append import append
from gateway.durable.postgres_errors import meaning, translated
from gateway.durable.postgres_frozen import APPLICATION, end_frozen
from gateway.durable.postgres_transaction import BEGIN, RawConnection, commit
from gateway.durable.rows import Batch
from gateway.durable.statement import DialectName, Statement

#: The server cancels a statement at its own timeout and says so; the driver gives up this much later, when the
#: server is not heard of at all.
_DRIVER_PATIENCE_MS: Final = 1_000

_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

_UNWISE: Final[dict[tuple[str, str], str]] = {
    ("fsync", "off"): "fsync is off: a power failure can destroy the whole database",
    ("full_page_writes", "off"): "full_page_writes is off: a power failure can leave torn pages behind",
    ("synchronous_commit", "off"): (
        "synchronous_commit is off for this role: the gateway turns it on for its own commits,"
        " other writers to this database may lose theirs"
    ),
}


class PostgresConnection:
    """One connection for one block."""

    dialect: DialectName = "postgresql"

    def __init__(self, raw: RawConnection) -> None:
        self._raw = raw

    async def fetch(self, statement: Statement, **given: Any) -> Sequence[Row]:
        sql, values = statement.bound(self.dialect, given)
        with translated():
            return cast("Sequence[Row]", await self._raw.fetch(sql, *values))

    async def execute(self, statement: Statement, **given: Any) -> int:
        sql, values = statement.bound(self.dialect, given)
        with translated():
            tag = await self._raw.execute(sql, *values)
        # The tag is `UPDATE 1`, `INSERT 0 1`: its last word is the number of rows.
        return int(tag.rsplit(" ", 1)[1])


class PostgresDatabase:
    """The durable store in a PostgreSQL primary.

    A connection on which anything failed is cut off instead of put back: what is still running on it, and in
    which state its transaction is, nobody knows.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        pool_timeout_ms: int,
        statement_timeout_ms: int,
        is_read_only: bool = False,
    ) -> None:
        self._is_read_only = is_read_only
        self._url = url
        self._pool_size = pool_size
        self._pool_timeout_ms = pool_timeout_ms
        self._statement_timeout_ms = statement_timeout_ms
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        """Connections can be made. A standby is refused: what it answers is older than what was committed."""
        if self._pool is not None:
            return
        try:
            with translated():
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=self._pool_size,
                    timeout=self._pool_timeout_ms / 1000,
                    command_timeout=(self._statement_timeout_ms + _DRIVER_PATIENCE_MS) / 1000,
                    target_session_attrs=SessionAttribute.primary,
                    server_settings=self._server_settings(self._statement_timeout_ms),
                    # Nothing of ours outlives its transaction: the driver's RESET would be a round trip for naught.
                    reset=_nothing_to_reset,
                )
        except LedgerUnavailable as exc:
            if isinstance(exc.__cause__, asyncpg.exceptions.TargetServerAttributeNotMatched):
                raise LedgerUnavailable("the database is a read-only standby; give the address of its primary") from exc
            raise

    async def close(self) -> None:
        """No connection is left; who still works on one has the pool's timeout to end, and is then cut off."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(self._pool_timeout_ms / 1000):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def migrate(self, mode: Literal["auto", "refuse"]) -> None:
        """The schema is this version's."""

        async def connect() -> asyncpg.Connection[asyncpg.Record]:
            # An index over many rows takes longer than any request may.
            return await asyncpg.connect(
                self._url,
                timeout=self._pool_timeout_ms / 1000,
                target_session_attrs=SessionAttribute.primary,
                server_settings=self._server_settings(0),
            )

        engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
        try:
            with translated():
                await migrate_postgres(engine, mode)
        except DBAPIError as exc:
            # The engine's own error wraps a translation of the driver's, which is what we know the meaning of.
            cause = exc.orig.__cause__ if exc.orig is not None else None
            raise meaning(cause if isinstance(cause, Exception) else exc) from exc
        finally:
            await engine.dispose()

    async def advice(self) -> list[str]:
        """What is unwise about the settings, a sentence each."""
        async with self._borrowed() as raw:
            with translated():
                rows = await raw.fetch(
                    "SELECT name, setting FROM pg_settings WHERE name = ANY($1) ORDER BY name",
                    [name for name, _ in _UNWISE],
                )
        return [_UNWISE[name, setting] for name, setting in rows if (name, setting) in _UNWISE]

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection on which each statement sees the newest state."""
        async with self._borrowed() as raw:
            yield PostgresConnection(raw)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """A connection on which all statements see the state at the first one."""
        async with self._borrowed() as raw:
            with translated():
                await raw.execute(_SNAPSHOT)
            yield PostgresConnection(raw)
            with translated():
                await raw.execute("ROLLBACK")

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Connection]:
        """A durable transaction, committed at the end of the block."""
        async with self._unblocking(), self._borrowed() as raw:
            with translated():
                await raw.execute(BEGIN)
            yield PostgresConnection(raw)
            await commit(raw)

    async def append(self, batch: Batch, owner: str | None) -> bool:
        """As `Ledger.append`."""
        async with self._unblocking(), self._borrowed() as raw:
            with translated():
                return await append(raw, batch, owner)

    @asynccontextmanager
    async def _unblocking(self) -> AsyncIterator[None]:
        """Where a lock within was waited for in vain, no frozen gateway holds it when it is tried again."""
        try:
            yield
        except LedgerUnavailable as exc:
            if isinstance(exc.__cause__, asyncpg.LockNotAvailableError):
                async with self._borrowed() as raw:
                    with translated():
                        await end_frozen(raw)
            raise

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[RawConnection]:
        pool = self._pool
        if pool is None:
            raise LedgerUnavailable("the durable store is not open")
        with translated():
            try:
                # A timeout of the pool's own would cost a task each time.
                async with asyncio.timeout(self._pool_timeout_ms / 1000):
                    raw = await pool.acquire()
            except TimeoutError as exc:
                raise LedgerUnavailable(
                    f"no connection to the database was free within {self._pool_timeout_ms} ms"
                ) from exc
        try:
            yield raw
        except BaseException:
            # The driver takes a connection back by itself when the server ends it; there is none to cut off then.
            with suppress(asyncpg.InterfaceError):
                raw.terminate()
            raise
        finally:
            await pool.release(raw)

    def _server_settings(self, statement_timeout_ms: int) -> dict[str, str]:
        return {
            "application_name": APPLICATION,
            "statement_timeout": str(statement_timeout_ms),
            **({"default_transaction_read_only": "on"} if self._is_read_only else {}),
            # Our statements touch few rows; compiling them costs more than it saves.
            "jit": "off",
        }


async def _nothing_to_reset(connection: Any) -> None:
    """The connection is as it was lent out: every transaction on it was ended by us."""
