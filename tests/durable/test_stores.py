"""Which store a URL names, and what is said of one that names none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway.durable import stores
from gateway.durable.stored import StoredLedger
from gateway.durable.stores import ledger_for


@pytest.mark.parametrize(
    "url", ["mysql://root:s3cret@db/gateway", "postgresql+asyncpg://u:s3cret@h/d", "s3cret", "", "redis://:s3cret@h"]
)
def test_ledger_for_another_scheme_names_the_allowed_ones(url: str) -> None:
    """The message tells what may be given, and repeats no password."""
    with pytest.raises(ValueError, match=r"postgresql://…, postgres://… or sqlite:///path") as told:
        ledger_for(url, pool_size=1, pool_timeout_ms=1, statement_timeout_ms=1)

    assert "s3cret@" not in str(told.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/path", "sqlite:"])
def test_ledger_for_sqlite_without_a_file_is_refused(url: str) -> None:
    """A store in memory would be lost, and each connection would have its own."""
    with pytest.raises(ValueError, match="needs a file"):
        ledger_for(url, pool_size=1, pool_timeout_ms=1, statement_timeout_ms=1)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/gateway.db", "/var/lib/gateway.db"),
        ("sqlite:///data/gateway.db", "data/gateway.db"),
        ("SQLite:///a%20b/%25.db", "a b/%.db"),
    ],
)
def test_sqlite_path_is_absolute_after_four_slashes(url: str, path: str) -> None:
    """As SQLAlchemy and others read such URLs."""
    assert stores._sqlite_path(url) == Path(path)


def test_ledger_for_postgres_without_its_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who installed the gateway without the extra is told what to install."""
    for name in [name for name in sys.modules if name.startswith(("gateway.durable.postgres", "asyncpg"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    with pytest.raises(ValueError, match=r"pip install 'reservation-gateway\[postgres\]'"):
        ledger_for("postgresql://localhost/gateway", pool_size=1, pool_timeout_ms=1, statement_timeout_ms=1)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "PostgreSQL"])
def test_ledger_for_postgres_connects_to_nothing_yet(scheme: str) -> None:
    """Either scheme is taken; only `open` looks for the server."""
    ledger = ledger_for(f"{scheme}://127.0.0.1:1/none", pool_size=1, pool_timeout_ms=1, statement_timeout_ms=1)

    assert isinstance(ledger, StoredLedger)
