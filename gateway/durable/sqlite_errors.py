"""What SQLite's and its driver's errors mean to the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.durable.ledger import (
    CommitUnknown,
    LedgerCorrupt,
    LedgerError,
    LedgerUnavailable,
    SchemaMismatch,
)

_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_ROWS_AT_FAULT: Final = frozenset(
    {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE}
)
#: SQLITE_ERROR is the code of every statement that cannot be prepared: a table or a column is not there.
_OTHER_SCHEMA: Final = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA})

#: ValueError covers the driver's "Connection closed" as well as text that is not Unicode.
DRIVER_ERRORS: Final = (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, OSError)


def meaning(exc: Exception) -> LedgerError:
    """The ledger's error for one of the driver's."""
    if isinstance(exc, (UnicodeError, OverflowError)):
        return LedgerCorrupt(f"a value cannot be stored: {exc}")
    code = _primary_code(exc)
    told = f"SQLite: {exc}"
    if code in _CORRUPT:
        return LedgerCorrupt(f"{told}: the file is damaged or is no database")
    if code in _ROWS_AT_FAULT:
        return LedgerCorrupt(told)
    if code in _OTHER_SCHEMA:
        return SchemaMismatch(f"{told}: the schema is not this version's")
    # Locked, full, read-only, not to be opened, failing disk, interrupted, closed: nothing was written.
    return LedgerUnavailable(told)


def _primary_code(exc: Exception) -> int | None:
    """The low byte tells the kind, the rest the circumstances; None where the error is not the library's."""
    code: int | None = getattr(exc, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


@contextmanager
def translated() -> Iterator[None]:
    """The driver's errors leave the block as the ledger's."""
    try:
        yield
    except LedgerError:
        raise
    except DRIVER_ERRORS as exc:
        raise meaning(exc) from exc


@contextmanager
def translated_commit() -> Iterator[None]:
    """As `translated`, for a COMMIT: when the disk failed, what was written may come back after a crash."""
    try:
        yield
    except DRIVER_ERRORS as exc:
        if _primary_code(exc) == sqlite3.SQLITE_IOERR:
            raise CommitUnknown(f"SQLite: {exc} at COMMIT") from exc
        raise meaning(exc) from exc
