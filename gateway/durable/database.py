"""What a dialect must be able to do for the ledger: connections for the three ways of asking, and the append.

The ledger's questions are the same for every dialect (`stored.py` and the nouns beside it); what differs stands
behind this: `postgres.py` and `sqlite.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from gateway.durable.rows import Batch
from gateway.durable.statement import DialectName, Statement

#: A row as the driver hands it out: values by position.
Row = Sequence[Any]


class Connection(Protocol):
    """A borrowed connection; only for the block it was borrowed for."""

    @property
    def dialect(self) -> DialectName:
        """Which SQL it speaks."""
        ...

    async def fetch(self, statement: Statement, **given: Any) -> Sequence[Row]:
        """All rows. A single statement sees a single state of the store."""

    async def execute(self, statement: Statement, **given: Any) -> int:
        """The number of rows that were written."""


class Database(Protocol):
    """One durable store in one dialect. Errors leave as those of `ledger.py`, the driver's as their cause."""

    async def open(self) -> None:
        """Connections can be made."""

    async def close(self) -> None:
        """No connection is left. Safe to repeat."""

    async def migrate(self, mode: Literal["auto", "refuse"]) -> None:
        """The schema is this version's. Raises SchemaMismatch."""

    async def advice(self) -> list[str]:
        """What is unwise about the store's settings, a sentence each."""

    def reading(self) -> AbstractAsyncContextManager[Connection]:
        """A connection on which each statement sees the newest state."""

    def snapshot(self) -> AbstractAsyncContextManager[Connection]:
        """A connection on which all statements see the state at the first one."""

    def writing(self) -> AbstractAsyncContextManager[Connection]:
        """A durable transaction: committed at the end of the block, or nothing of it when the block raises.

        Raises CommitUnknown.
        """

    async def append(self, batch: Batch, owner: str | None) -> bool:
        """As `Ledger.append`."""
