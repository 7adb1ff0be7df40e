"""New rows as COPY takes them: lines of CSV, made a few hundred at a time and sent while the server takes in those before.

A line is one formatting, which takes half of what it took to make a tuple of the row and let the driver encode it value by value.
Quote and delimiter are signs that no name and no text of a client can hold, so nothing needs to be looked at sign by sign here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, NamedTuple

from gateway.durable import schema
from gateway.durable.postgres_transaction import RawConnection
from gateway.durable.rows import EventRow, RequestRow, ReservationRow
from gateway.durable.written import Written, written_columns

QUOTE: Final = "\x01"
DELIMITER: Final = "\x02"


class Form(NamedTuple):
    """How rows of a table become lines: the values in the order of `written_columns`.

    `quotes` are those of a line. A word of the columns in `nulls` is NULL when it is empty; a number is so anyway.
    """

    line: Callable[[int, Any], str]
    quotes: int
    nulls: tuple[str, ...] = ()


async def copy_rows(raw: RawConnection, shard: int, rows: Written, rows_between_yields: int) -> None:
    """The rows are in their table; requests were let through after each so many of them."""
    form = FORMS[rows.table.name]
    await raw.copy_to_table(
        rows.table.name,
        source=_chunks(form, shard, rows.items, rows_between_yields),
        columns=written_columns(rows.table),
        format="csv",
        delimiter=DELIMITER,
        quote=QUOTE,
        force_null=form.nulls or None,
    )


async def _chunks(form: Form, shard: int, rows: Sequence[Any], count: int) -> AsyncIterator[bytes]:
    for at in range(0, len(rows), count):
        yield chunk(form, shard, rows[at : at + count])
        await asyncio.sleep(0)


def chunk(form: Form, shard: int, rows: Sequence[Any]) -> bytes:
    """The lines of these rows. Raises UnicodeEncodeError for what is no text."""
    line = form.line
    text = "".join([line(shard, row) for row in rows])
    if text.count(QUOTE) != form.quotes * len(rows):  # a text that no client of ours can have written
        text = "".join([line(shard, _doubled(row)) for row in rows])
    return text.encode()


def _doubled(row: Any) -> Any:
    """The row with each quote in its words twice, which is how CSV writes one."""
    words = {name: word for name, word in asdict(row).items() if isinstance(word, str)}
    return replace(row, **{name: word.replace(QUOTE, QUOTE * 2) for name, word in words.items()})


def _event(shard: int, row: EventRow) -> str:
    return (
        f"{shard}\x02{row.seq}\x02{row.epoch}\x02{row.entry_seq}\x02\x01{row.type}\x01\x02{row.at_ms}\x02\x01{row.shop}\x01\x02"
        f"\x01{row.reservation or ''}\x01\x02\x01{row.payload}\x01\x02\x01{row.digest}\x01\n"
    )


def _reservation(shard: int, row: ReservationRow) -> str:
    return (
        f"{shard}\x02\x01{row.random_part}\x01\x02\x01{row.shop}\x01\x02\x01{row.state}\x01\x02\x01{row.reference}\x01\x02"
        f"\x01{row.customer}\x01\x02\x01{row.sku or ''}\x01\x02{row.created_epoch}\x02{row.created_seq}\x02{row.created_ms}\x02"
        f"{row.deadline_ms}\x02{'' if row.ended_ms is None else row.ended_ms}\x02{row.epoch}\x02{row.seq}\x02\x01{row.packed}\x01\n"
    )


def _request(shard: int, row: RequestRow) -> str:
    return (
        f"{shard}\x02\x01{row.record}\x01\x02\x01{row.operation}\x01\x02\x01{row.fingerprint}\x01\x02\x01{row.target}\x01\x02"
        f"{row.epoch}\x02{row.seq}\x02{row.at_ms}\n"
    )


#: Of the tables whose rows are new by law, or nearly always.
FORMS: Final = {
    schema.events.name: Form(_event, 10, ("reservation",)),
    schema.reservations.name: Form(_reservation, 14, ("sku",)),
    schema.requests.name: Form(_request, 8),
}
