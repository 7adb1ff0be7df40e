"""Which durable store a URL names."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from gateway.durable.database import Database
from gateway.durable.ledger import Ledger
from gateway.durable.sqlite import SqliteDatabase
from gateway.durable.stored import StoredLedger

_ALLOWED: Final = "postgresql://…, postgres://… or sqlite:///path"


def ledger_for(
    url: str, *, pool_size: int, pool_timeout_ms: int, statement_timeout_ms: int, is_read_only: bool = False
) -> Ledger:
    """The ledger behind a URL; nothing is connected yet.

    With `is_read_only` the store itself refuses every write, and a SQLite file that is not there is not made.

    PostgreSQL takes what libpq takes (several hosts, `sslmode`, a socket's folder as `host`). SQLite's path is
    absolute after four slashes, relative to the working directory after three.

    Raises:
        ValueError: another scheme, a SQLite URL without a file, or PostgreSQL without its driver.
    """
    scheme = url.partition(":")[0].lower()
    database: Database
    if scheme in {"postgresql", "postgres"}:
        try:
            from gateway.durable.postgres import PostgresDatabase
        except ModuleNotFoundError as exc:
            if exc.name != "asyncpg":
                raise
            raise ValueError(
                "PostgreSQL needs the driver asyncpg: pip install 'reservation-gateway[postgres]'"
            ) from exc
        database = PostgresDatabase(
            url,
            pool_size=pool_size,
            pool_timeout_ms=pool_timeout_ms,
            statement_timeout_ms=statement_timeout_ms,
            is_read_only=is_read_only,
        )
    elif scheme == "sqlite":
        database = SqliteDatabase(
            _sqlite_path(url),
            pool_size=pool_size,
            pool_timeout_ms=pool_timeout_ms,
            statement_timeout_ms=statement_timeout_ms,
            is_read_only=is_read_only,
        )
    else:
        # The URL itself may hold a password, so only its scheme is repeated.
        raise ValueError(f"the durable store cannot be a {scheme!r}: give {_ALLOWED}")
    return StoredLedger(database)


def _sqlite_path(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path or path == ":memory:":
        raise ValueError("a durable store in SQLite needs a file: sqlite:///path, or sqlite:////absolute/path")
    return Path(path)
