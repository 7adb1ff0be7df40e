"""What PostgreSQL's and its driver's errors mean to the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from gateway.durable.ledger import (
    CommitUnknown,
    LedgerCorrupt,
    LedgerError,
    LedgerUnavailable,
    SchemaMismatch,
)

#: Classes of SQLSTATE in which nothing was written and the same may succeed later: feature not supported (a cached
#: plan that a migration outdated), invalid transaction state (idle for too long, read only), authorization, catalog
#: name, rollback, resources, prerequisite state (lock timeout), operator intervention, system error.
_UNAVAILABLE: Final = frozenset({"08", "0A", "25", "28", "3D", "40", "53", "55", "57", "58"})
#: Data exceptions and broken constraints: the rows are at fault, repeating changes nothing.
_CORRUPT: Final = frozenset({"22", "23"})
#: data_corrupted and index_corrupted.
_DAMAGED: Final = frozenset({"XX001", "XX002"})
#: A table or a column is not there.
_OTHER_SCHEMA: Final = frozenset({"42P01", "42703"})

#: What the driver raises when the connection is gone or cannot be made. Of its InterfaceError, which says that a
#: connection is closed, the kinds that are also a ValueError say that a value or an address is no good.
_LOST: Final = (OSError, EOFError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def meaning(exc: Exception) -> LedgerError:
    """The ledger's error for one of the driver's."""
    if isinstance(exc, asyncpg.PostgresError):
        return _meaning_of_state(exc)
    if isinstance(exc, asyncpg.exceptions.ClientConfigurationError):
        return LedgerUnavailable(f"the database's address cannot be used: {exc}")
    if isinstance(exc, (ValueError, OverflowError)):
        return LedgerCorrupt(f"a value cannot be stored: {exc}")
    if isinstance(exc, TimeoutError):
        return LedgerUnavailable("the database did not answer in time")
    if isinstance(exc, _LOST):
        return LedgerUnavailable(f"the database does not answer: {exc}")
    return LedgerError(f"{type(exc).__name__}: {exc}")


def _meaning_of_state(exc: asyncpg.PostgresError) -> LedgerError:
    state = exc.sqlstate or ""
    told = f"PostgreSQL: {exc} (SQLSTATE {state})"
    if state[:2] in _UNAVAILABLE:
        return LedgerUnavailable(told)
    if state[:2] in _CORRUPT or state in _DAMAGED:
        return LedgerCorrupt(told)
    if state in _OTHER_SCHEMA:
        return SchemaMismatch(f"{told}: the schema is not this version's")
    return LedgerError(told)


@contextmanager
def translated() -> Iterator[None]:
    """The driver's errors leave the block as the ledger's."""
    try:
        yield
    except LedgerError:
        raise
    except (asyncpg.PostgresError, ValueError, OverflowError, *_LOST) as exc:
        raise meaning(exc) from exc


@contextmanager
def translated_commit() -> Iterator[None]:
    """As `translated`, for a COMMIT: without the server's own refusal its outcome is not known."""
    try:
        yield
    except asyncpg.PostgresError as exc:
        # A fatal answer may come from the end of a commit that is already written; an error cannot.
        state = exc.sqlstate or ""
        if state[:2] in {"08", "57"} and state != asyncpg.QueryCanceledError.sqlstate:
            raise CommitUnknown(f"the connection was lost at COMMIT: {exc}") from exc
        raise meaning(exc) from exc
    except _LOST as exc:
        raise CommitUnknown(f"the answer to COMMIT was lost: {type(exc).__name__} {exc}") from exc
