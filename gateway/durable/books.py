"""The books of a shard: its counters beside what its reservations add up to, from one state of the store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.domain.reservation import HELD
from gateway.durable.database import Connection
from gateway.durable.reservations import live_reservations
from gateway.durable.rows import Books
from gateway.durable.shards import fresh_row, read_row
from gateway.durable.stock import all_levels

#: Rows per statement: the event loop runs between pages, and only one page of packed text is in memory.
_PAGE: Final = 2_000

Sums = dict[tuple[str, str, str], int]


async def read_books(connection: Connection, shard: int) -> Books:
    """As `Ledger.read_books`; on a snapshot."""
    row = await read_row(connection, shard) or fresh_row(shard)
    books = Books(row, {}, {}, {})
    async for levels in all_levels(connection, shard, _PAGE):
        books.levels.update(levels)
    async for page in live_reservations(connection, shard, _PAGE):
        add_up(page, books.held, books.committed)
    return books


def add_up(page: Iterable[tuple[str, str, str]], held: Sums, committed: Sums) -> None:
    """The units of (random part, state, packed) are added to what is held and what is committed, per level.

    A hold counts until it is swept, also past its deadline, as it does in the levels. Lines of a confirmed
    reservation that are settled have left `committed`.
    """
    for _, state, packed in page:
        head, *lines = packed.split("\n")
        # The shop is the tenth field of the head: gateway/domain/reservation.py.
        shop = head.split("\t", 10)[9]
        for line in lines:
            sku, location, quantity, settled = line.split("\t")
            key = (shop, sku, location)
            if state == HELD:
                held[key] = held.get(key, 0) + int(quantity)
            elif settled != "1":
                committed[key] = committed.get(key, 0) + int(quantity)
