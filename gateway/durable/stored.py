"""The ledger over a database of either dialect: each method borrows a connection and asks the noun's own file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, Literal

from sqlalchemy import literal_column, select

from gateway.domain.stock import Sku
from gateway.durable import books, deployment, history, reservations, shards, stock
from gateway.durable.database import Database
from gateway.durable.migration import verify
from gateway.durable.rows import (
    Batch,
    Books,
    Deployment,
    EventRow,
    RequestRow,
    ReservationQuery,
    ShardRow,
    StoredReservation,
)
from gateway.durable.statement import Statement

_PING: Final = Statement(select(literal_column("1")))


class StoredLedger:
    """Implements `gateway.durable.ledger.Ledger`; what each method promises stands there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    async def prepare(self, migrate: Literal["auto", "refuse"]) -> None:
        await self._database.migrate(migrate)

    async def verify_schema(self) -> None:
        async with self._database.reading() as connection:
            await verify(connection)

    async def settle_deployment(self, shards: int, hash_name: str, prefix: str) -> Deployment:
        async with self._database.writing() as connection:
            return await deployment.settle(connection, shards, hash_name, prefix)

    async def ping(self) -> None:
        async with self._database.reading() as connection:
            await connection.fetch(_PING)

    async def advice(self) -> list[str]:
        return await self._database.advice()

    async def read_shard(self, shard: int) -> ShardRow:
        async with self._database.reading() as connection:
            row = await shards.read_row(connection, shard)
        if row is not None:
            return row
        async with self._database.writing() as connection:
            return await shards.make_row(connection, shard)

    async def raise_epoch(
        self, shard: int, seen_epoch: int, owner: str, lease_ms: int, *, by_operator: bool = False, above: int = 0
    ) -> ShardRow | None:
        async with self._database.writing() as connection:
            return await shards.raise_epoch(
                connection, shard, seen_epoch, owner, lease_ms, by_operator=by_operator, above=above
            )

    async def open_shard(
        self,
        shard: int,
        epoch: int,
        owner: str,
        generation: int,
        rebuilt_ms: int,
        ended_epochs: Sequence[tuple[int, int]],
        *,
        counts_as_rebuild: bool = False,
    ) -> bool:
        async with self._database.writing() as connection:
            return await shards.open_shard(
                connection,
                shard,
                epoch,
                owner,
                generation,
                rebuilt_ms,
                ended_epochs,
                counts_as_rebuild=counts_as_rebuild,
            )

    async def halt(self, shard: int, epoch: int, reason: str) -> bool:
        async with self._database.writing() as connection:
            return await shards.halt(connection, shard, epoch, reason)

    async def recount(self, shard: int, epoch: int, owner: str) -> bool:
        async with self._database.writing() as connection:
            return await shards.recount(connection, shard, epoch, owner)

    async def rebuilds_within(self, shard: int, window_ms: int) -> int:
        async with self._database.reading() as connection:
            return await shards.rebuilds_within(connection, shard, window_ms)

    async def keep_claim(self, shard: int, epoch: int, owner: str, lease_ms: int) -> bool:
        async with self._database.writing() as connection:
            return await shards.keep_claim(connection, shard, epoch, owner, lease_ms)

    async def epoch_ends(self, shard: int) -> dict[int, int]:
        async with self._database.reading() as connection:
            return await shards.epoch_ends(connection, shard)

    async def append(self, batch: Batch, *, owner: str | None = None) -> bool:
        return await self._database.append(batch, owner)

    async def read_sku(self, shop: str, sku: str) -> Sku | None:
        async with self._database.reading() as connection:
            return (await stock.read_skus(connection, shop, [sku])).get(sku)

    async def read_skus(self, shop: str, skus: Sequence[str]) -> dict[str, Sku]:
        async with self._database.reading() as connection:
            return await stock.read_skus(connection, shop, skus)

    async def read_reservation(self, random_part: str) -> str | None:
        async with self._database.reading() as connection:
            return await reservations.read_reservation(connection, random_part)

    async def read_request(self, record: str) -> RequestRow | None:
        async with self._database.reading() as connection:
            return await history.read_request(connection, record)

    async def has_live_before(self, shard: int, epoch: int) -> bool:
        async with self._database.reading() as connection:
            return await reservations.has_live_before(connection, shard, epoch)

    async def open_holds(self, shard: int, page: int) -> AsyncGenerator[list[tuple[str, str]], None]:
        async with (
            self._database.snapshot() as connection,
            aclosing(reservations.open_holds(connection, shard, page)) as pages,
        ):
            async for found in pages:
                yield found

    async def skus_with_holds(self, shard: int, page: int) -> AsyncGenerator[list[Sku], None]:
        async with (
            self._database.snapshot() as connection,
            aclosing(stock.skus_with_holds(connection, shard, page)) as pages,
        ):
            async for found in pages:
                yield found

    async def search_reservations(self, query: ReservationQuery) -> list[tuple[str, str]]:
        async with self._database.reading() as connection:
            return await reservations.search(connection, query)

    async def list_skus(self, shop: str, after: str, limit: int) -> list[Sku]:
        async with self._database.snapshot() as connection:
            return await stock.list_skus(connection, shop, after, limit)

    async def read_books(self, shard: int) -> Books:
        async with self._database.snapshot() as connection:
            return await books.read_books(connection, shard)

    async def read_events(self, shard: int, after_seq: int, limit: int) -> list[EventRow]:
        async with self._database.reading() as connection:
            return await history.read_events(connection, shard, after_seq, limit)

    async def events_at(self, shard: int, seqs: Sequence[int]) -> list[EventRow]:
        async with self._database.reading() as connection:
            return await history.events_at(connection, shard, seqs)

    async def change_before(self, shard: int, random_part: str, seq: int) -> EventRow | None:
        async with self._database.reading() as connection:
            return await history.change_before(connection, shard, random_part, seq)

    async def stored_page(self, shard: int, after: str, limit: int) -> list[StoredReservation]:
        async with self._database.reading() as connection:
            return await reservations.stored_page(connection, shard, after, limit)

    async def stored_among(self, random_parts: Sequence[str]) -> dict[str, StoredReservation]:
        async with self._database.reading() as connection:
            return await reservations.stored_among(connection, random_parts)
