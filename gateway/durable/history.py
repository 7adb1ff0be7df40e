"""The history as it is read: events by position, and what became of a request."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from gateway.durable.database import Connection
from gateway.durable.rows import EventRow, RequestRow
from gateway.durable.schema import events, requests
from gateway.durable.statement import Statement, number, word

_EVENTS: Final = Statement(
    select(
        events.c.epoch,
        events.c.seq,
        events.c.entry_seq,
        events.c.type,
        events.c.at_ms,
        events.c.shop,
        events.c.reservation,
        events.c.payload,
        events.c.digest,
    )
    .where(events.c.shard == number("of_shard"), events.c.seq > number("after_seq"))
    .order_by(events.c.seq)
    .limit(number("page"))
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


async def read_request(connection: Connection, record: str) -> RequestRow | None:
    """As `Ledger.read_request`."""
    rows = await connection.fetch(_REQUEST, of_record=record)
    return RequestRow(*rows[0]) if rows else None
