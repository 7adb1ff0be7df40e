"""Durable transactions on PostgreSQL: how they begin, and what counts as committed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from gateway.durable.ledger import CommitUnknown, LedgerUnavailable
from gateway.durable.postgres_errors import translated_commit

#: Generic to the type checker alone.
RawConnection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

#: A session that is idle in a transaction for longer is ended: its process stands still, and others wait for what it locked.
IDLE_SECONDS_MAX: Final = 3

#: One round trip. Whatever role, database or pooler set, this transaction waits for the disk (and for a synchronous
#: standby, where there is one; the stronger remote_apply is left as it is), gives up on a lock that another writer
#: holds, and frees its own when this process is frozen in the middle.
BEGIN: Final = (
    "BEGIN;"
    " SELECT set_config('synchronous_commit',"
    " CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true);"
    " SET LOCAL lock_timeout = '2s';"
    f" SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS_MAX}s'"
)

#: "Committed here, but might not have been replicated": what a wait for a standby says when it is cut short.
_WARNING: Final = "01000"


async def commit(raw: RawConnection) -> None:
    """The transaction is on the disk, and on the synchronous standbys where there are any.

    Raises:
        CommitUnknown: the answer was lost, or the commit came with a warning.
        LedgerUnavailable: the connection was gone before COMMIT was sent, or the server rolled back.
    """
    if raw.is_closed():
        raise LedgerUnavailable("the connection was lost before COMMIT")
    warnings: list[str] = []

    def listen(_connection: Any, message: asyncpg.PostgresLogMessage) -> None:
        if message.sqlstate == _WARNING:
            warnings.append(f"{message.message}; {message.detail}")

    # The driver hands over notices by call_soon, in the order of arrival: before it wakes who waits for COMMIT.
    raw.add_log_listener(listen)
    try:
        with translated_commit():
            tag = await raw.execute("COMMIT")
    finally:
        # A connection that was lost has forgotten its listeners.
        with suppress(asyncpg.InterfaceError):
            raw.remove_log_listener(listen)
    if tag != "COMMIT":
        # PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error.
        raise LedgerUnavailable(f"COMMIT was answered with {tag}; nothing was written")
    if warnings:
        raise CommitUnknown(f"committed on this server alone: {warnings[0]}")
