"""The history as it is read: events by position, and what became of a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import desc, select, text

from gateway.durable.database import Connection
from gateway.durable.rows import EventRow, RequestRow
from gateway.durable.schema import events, requests
from gateway.durable.statement import IsAmong, Statement, among, number, word

_EVENT: Final = select(
    events.c.epoch,
    events.c.seq,
    events.c.entry_seq,
    events.c.type,
    events.c.at_ms,
    events.c.shop,
    events.c.reservation,
    events.c.payload,
    events.c.digest,
).where(events.c.shard == number("of_shard"))
_EVENTS: Final = Statement(
    _EVENT.where(events.c.seq > number("after_seq")).order_by(events.c.seq).limit(number("page"))
)
_EVENTS_AT: Final = Statement(_EVENT.where(IsAmong(events.c.seq, "seqs")))
_CHANGE_BEFORE: Final = Statement(
    # As the index has it: a reserve is found by its position.
    _EVENT.where(
        events.c.reservation == word("of_reservation"),
        text("reservation IS NOT NULL AND type <> 'stock.reserved'"),
        events.c.seq < number("before_seq"),
    )
    .order_by(desc(events.c.seq))
    .limit(1)
)
_REQUEST: Final = Statement(
    select(
        requests.c.record,
        requests.c.operation,
        requests.c.fingerprint,
        requests.c.target,
        requests.c.epoch,
        requests.c.seq,
        requests.c.at_ms,
    ).where(requests.c.record == word("of_record"))
)


async def read_events(connection: Connection, shard: int, after_seq: int, limit: int) -> list[EventRow]:
    """As `Ledger.read_events`."""
    rows = await connection.fetch(_EVENTS, of_shard=shard, after_seq=after_seq, page=limit)
    return [EventRow(*row) for row in rows]


async def events_at(connection: Connection, shard: int, seqs: Sequence[int]) -> list[EventRow]:
    """As `Ledger.events_at`."""
    rows = await connection.fetch(_EVENTS_AT, of_shard=shard, seqs=among(connection.dialect, seqs))
    return [EventRow(*row) for row in rows]


async def change_before(connection: Connection, shard: int, random_part: str, seq: int) -> EventRow | None:
    """As `Ledger.change_before`."""
    rows = await connection.fetch(_CHANGE_BEFORE, of_shard=shard, of_reservation=random_part, before_seq=seq)
    return EventRow(*rows[0]) if rows else None


async def read_request(connection: Connection, record: str) -> RequestRow | None:
    """As `Ledger.read_request`."""
    rows = await connection.fetch(_REQUEST, of_record=record)
    return RequestRow(*rows[0]) if rows else None
