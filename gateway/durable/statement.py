"""Statements: written once with SQLAlchemy Core, compiled once per dialect, run by the bare driver.

Core keeps both dialects' text in step with the schema; running its text on the driver's own connection saves the
per-call work of an engine, which is several times that of the driver, where a request waits for a single row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from sqlalchemy import BigInteger, BindParameter, Boolean, Column, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement, ColumnElement

from gateway.durable.schema import Words

DialectName = Literal["postgresql", "sqlite"]

_DIALECTS: Final[dict[DialectName, Dialect]] = {
    "postgresql": postgresql.dialect(paramstyle="numeric_dollar"),  # type: ignore[no-untyped-call]
    "sqlite": sqlite.dialect(paramstyle="qmark"),
}


def word(name: str) -> BindParameter[str]:
    """A text value that is given when the statement runs."""
    return bindparam(name, type_=Words)


def number(name: str) -> BindParameter[int]:
    """A whole number that is given when the statement runs."""
    return bindparam(name, type_=BigInteger())


@dataclass(frozen=True, slots=True)
class _Text:
    sql: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]


class Statement:
    """One statement in both dialects. What it asks for is named by `word`, `number` and `IsAmong`."""

    def __init__(self, core: ClauseElement) -> None:
        self._core = core
        self._texts: dict[DialectName, _Text] = {}

    def bound(self, dialect: DialectName, given: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The text and its values in order, ready for the driver."""
        text = self._texts.get(dialect) or self._compile(dialect)
        constants = text.constants
        return text.sql, [given[name] if name in given else constants[name] for name in text.names]

    def _compile(self, dialect: DialectName) -> _Text:
        compiled = cast("SQLCompiler", self._core.compile(dialect=_DIALECTS[dialect]))
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        text = _Text(str(compiled), tuple(compiled.positiontup or ()), constants)
        return self._texts.setdefault(dialect, text)


class IsAmong(ColumnElement[bool]):
    """The column has one of the values of a list, which is one parameter however long it is: see `among`."""

    inherit_cache = False
    type = Boolean()
    # Else SQLAlchemy writes `… = 1` behind it on SQLite, which hides the index from the planner.
    _is_implicitly_boolean = True

    def __init__(self, column: Column[Any], name: str) -> None:
        self.column = column
        self.values: BindParameter[Any] = bindparam(name)


def among(dialect: DialectName, values: Sequence[str] | Sequence[int]) -> Any:
    """The list as the driver takes it for an `IsAmong`."""
    return list(values) if dialect == "postgresql" else json.dumps(values, ensure_ascii=False)


@compiles(IsAmong, "postgresql")
def _any_of_array(element: IsAmong, compiler: SQLCompiler, **words: Any) -> str:
    column, values = compiler.process(element.column, **words), compiler.process(element.values, **words)
    of = "BIGINT" if isinstance(element.column.type, BigInteger) else "TEXT"
    return f"{column} = ANY (CAST({values} AS {of}[]))"


@compiles(IsAmong, "sqlite")
def _in_json_array(element: IsAmong, compiler: SQLCompiler, **words: Any) -> str:
    column, values = compiler.process(element.column, **words), compiler.process(element.values, **words)
    return f"{column} IN (SELECT value FROM json_each({values}))"


class StoreClock(ColumnElement[int]):
    """Now in milliseconds by the store's own clock, asked when the row is judged and not when the statement began."""

    inherit_cache = False
    type = BigInteger()


@compiles(StoreClock, "postgresql")
def _clock_timestamp(element: StoreClock, compiler: SQLCompiler, **words: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"


@compiles(StoreClock, "sqlite")
def _julian_day(element: StoreClock, compiler: SQLCompiler, **words: Any) -> str:
    # unixepoch('now', 'subsec') needs SQLite 3.42; the julian day of the epoch is 2440587.5.
    return "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
