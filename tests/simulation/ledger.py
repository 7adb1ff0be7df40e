"""The durable store as one gateway has it: each method is the statements of the real one, a round trip each, over a way of its own.

Implements `gateway.durable.ledger.Ledger`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from gateway.domain.reservation import parse_reservation
from gateway.domain.stock import Sku
from gateway.durable.books import add_up
from gateway.durable.ledger import (
    Batch,
    Books,
    CommitUnknown,
    Deployment,
    DeploymentMismatch,
    EventRow,
    LedgerError,
    LedgerUnavailable,
    RequestRow,
    ReservationQuery,
    ShardRow,
    StoredReservation,
)
from gateway.durable.written import prove_in_order
from tests.simulation import reading
from tests.simulation.database import Aborted, Database, Transaction, later

STATEMENT_TIMEOUT_S: Final = 5.0
#: What may happen to a COMMIT and its answer.
CommitFate = Literal["lost before", "lost after", "lost and late"]


class DatabaseWay:
    """The way from one gateway to the database, and what is wrong with it."""

    def __init__(self, dice: random.Random, delay_s_max: float = 0.002) -> None:
        self.dice = dice
        self.is_away = False
        self.is_silent = False
        self.delay_s_max = delay_s_max
        self.commit_fates: list[CommitFate] = []
        self.open: dict[Transaction, None] = {}
        self.observe: Callable[[str], None] = lambda _: None

    def delay_s(self) -> float:
        """How long a word takes this time."""
        return self.dice.uniform(0, self.delay_s_max)

    def cut(self) -> None:
        """The gateway's connections are gone, and the server rolls back what they had begun."""
        for transaction in list(self.open):
            later(self.delay_s(), transaction.roll_back)
        self.open.clear()


class SimulatedLedger:
    """Implements `Ledger`; what each method promises stands there."""

    def __init__(self, database: Database, way: DatabaseWay) -> None:
        self._database = database
        self._way = way

    # -- how a statement travels ------------------------------------------------------------------------------

    async def _ask(self, work: Callable[[], Any]) -> Any:
        """What the statement gave at the server."""

        def done(told: Callable[[Any], None]) -> None:
            told(work())
            self._way.observe("read")

        return await self._told(done)

    async def _told(self, work: Callable[[Callable[[Any], None]], None]) -> Any:
        """What the server told when it was done with the work."""
        way = self._way
        if way.is_away:
            await asyncio.sleep(way.delay_s())
            raise LedgerUnavailable("connection refused")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        later(way.delay_s(), self._serve, work, answer)
        return await answer

    def _serve(self, work: Callable[[Callable[[Any], None]], None], answer: asyncio.Future[Any]) -> None:
        if self._way.is_away or self._way.is_silent:
            return self._answer(answer, LedgerUnavailable("the connection was lost"))
        try:
            return work(lambda told: self._answer(answer, told))
        except (LedgerError, Aborted) as problem:
            return self._answer(answer, problem)

    def _answer(self, answer: asyncio.Future[Any], told: Any) -> None:
        way = self._way
        if way.is_away:
            told = LedgerUnavailable("the connection was lost")
        delay_s = STATEMENT_TIMEOUT_S if way.is_silent else way.delay_s()
        if way.is_silent:
            told = LedgerUnavailable("the statement took too long")
        later(delay_s, _settle, answer, told)

    async def _begin(self, first: Callable[[Transaction], Any]) -> tuple[Transaction, Any]:
        """A transaction with the lock, and what its first statement gave."""
        begun: list[Transaction] = []

        def work(told: Callable[[Any], None]) -> None:
            def granted(transaction: Transaction | None) -> None:
                if transaction is None:
                    told(LedgerUnavailable("canceling statement due to lock timeout"))
                    return
                begun.append(transaction)
                self._way.open[transaction] = None
                try:
                    found = first(transaction)
                except LedgerError as problem:
                    transaction.roll_back()
                    told(problem)
                    return
                transaction.pause()
                self._way.observe("gate")
                told(found)

            self._database.begin(granted)

        try:
            found = await self._told(work)
        except BaseException:
            if begun:
                self._give_up(begun[0])
            raise
        return begun[0], found

    async def _say(self, transaction: Transaction, work: Callable[[], Any]) -> Any:
        """A further statement of the transaction."""

        def resumed() -> Any:
            transaction.resume()
            try:
                done = work()
                self._way.observe("store")
                return done
            except LedgerError:
                transaction.roll_back()
                raise
            finally:
                if not transaction.is_over:
                    transaction.pause()

        try:
            return await self._ask(resumed)
        except Aborted as problem:
            raise LedgerUnavailable("the server rolled the transaction back") from problem
        except BaseException:
            self._give_up(transaction)
            raise

    def _give_up(self, transaction: Transaction) -> None:
        later(self._way.delay_s(), transaction.roll_back)
        self._way.open.pop(transaction, None)

    async def _commit(self, transaction: Transaction) -> None:
        """It is committed. Raises CommitUnknown, LedgerUnavailable."""
        way = self._way
        way.open.pop(transaction, None)  # whether the client is there or not, the server goes on with a COMMIT
        fate = way.commit_fates.pop(0) if way.commit_fates else None
        if fate == "lost before":
            later(way.delay_s(), transaction.roll_back)
        elif fate == "lost and late":
            later(way.dice.uniform(0.01, 0.5), _commit_late, transaction)
        if fate in {"lost before", "lost and late"}:
            await asyncio.sleep(way.delay_s())
            raise CommitUnknown("the connection broke")

        def work() -> None:
            transaction.resume()
            transaction.commit()
            way.observe("commit")

        try:
            await self._ask(work)
        except Aborted as problem:
            raise LedgerUnavailable("COMMIT was answered with ROLLBACK") from problem
        except LedgerUnavailable as problem:
            later(way.delay_s(), transaction.roll_back)
            raise CommitUnknown(str(problem)) from problem
        if fate == "lost after":
            raise CommitUnknown("the connection broke")

    async def _write(self, first: Callable[[Transaction], Any]) -> Any:
        """A transaction of one statement."""
        transaction, found = await self._begin(first)
        await self._commit(transaction)
        return found

    # -- the protocol -----------------------------------------------------------------------------------------

    async def open(self) -> None:
        await self.ping()

    async def close(self) -> None:
        self._way.cut()

    async def prepare(self, migrate: Literal["auto", "refuse"]) -> None:
        await self.ping()

    async def verify_schema(self) -> None:
        await self.ping()

    async def settle_deployment(self, shards: int, hash_name: str, prefix: str) -> Deployment:
        tables = self._database.tables

        def work() -> Deployment:
            if tables.deployment is None:
                tables.deployment = Deployment(self._way.dice.randbytes(8).hex(), shards, hash_name, prefix)
            settled: Deployment = tables.deployment
            if replace(settled, shards=shards, hash=hash_name, prefix=prefix) != settled:
                raise DeploymentMismatch("the store belongs to another deployment")
            return settled

        return await self._ask(work)  # type: ignore[no-any-return]

    async def ping(self) -> None:
        await self._ask(lambda: None)

    async def advice(self) -> list[str]:
        return []

    async def read_shard(self, shard: int) -> ShardRow:
        return await self._ask(lambda: self._database.row(shard))  # type: ignore[no-any-return]

    async def raise_epoch(
        self, shard: int, seen_epoch: int, owner: str, lease_ms: int, *, by_operator: bool = False, above: int = 0
    ) -> ShardRow | None:
        return await self._write(  # type: ignore[no-any-return]
            lambda transaction: self._database.raise_epoch(
                transaction, shard, seen_epoch, owner, lease_ms, by_operator=by_operator, above=above
            )
        )

    async def keep_claim(self, shard: int, epoch: int, owner: str, lease_ms: int) -> bool:
        return await self._write(  # type: ignore[no-any-return]
            lambda transaction: self._database.keep_claim(transaction, shard, epoch, owner, lease_ms)
        )

    async def halt(self, shard: int, epoch: int, reason: str) -> bool:
        return await self._write(lambda transaction: self._database.halt(transaction, shard, epoch, reason))  # type: ignore[no-any-return]

    async def recount(self, shard: int, epoch: int, owner: str) -> bool:
        return await self._write(lambda transaction: self._database.recount(transaction, shard, epoch, owner))  # type: ignore[no-any-return]

    async def rebuilds_within(self, shard: int, window_ms: int) -> int:
        return await self._ask(lambda: self._database.rebuilds_within(shard, window_ms))  # type: ignore[no-any-return]

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
        return await self._write(  # type: ignore[no-any-return]
            lambda transaction: self._database.open_shard(
                transaction,
                shard,
                epoch,
                owner,
                generation,
                rebuilt_ms,
                ended_epochs,
                counts_as_rebuild=counts_as_rebuild,
            )
        )

    async def epoch_ends(self, shard: int) -> dict[int, int]:
        ends = self._database.tables.ends
        return await self._ask(lambda: {key[1]: end for key, end in ends.items() if key[0] == shard})  # type: ignore[no-any-return]

    async def append(self, batch: Batch, *, owner: str | None = None) -> bool:
        prove_in_order(batch)
        database = self._database
        transaction, is_passed = await self._begin(lambda begun: database.gate(begun, batch, owner))
        if not is_passed:
            self._give_up(transaction)
            return False
        await self._say(transaction, lambda: database.store(transaction, batch))
        await self._commit(transaction)
        return True

    async def read_sku(self, shop: str, sku: str) -> Sku | None:
        return (await self.read_skus(shop, [sku])).get(sku)

    async def read_skus(self, shop: str, skus: Sequence[str]) -> dict[str, Sku]:
        return await self._ask(lambda: reading.skus_of(self._database.tables, shop, skus))  # type: ignore[no-any-return]

    async def read_reservation(self, random_part: str) -> str | None:
        return await self._ask(lambda: reading.packed_of(self._database.tables, random_part))  # type: ignore[no-any-return]

    async def read_request(self, record: str) -> RequestRow | None:
        return await self._ask(lambda: reading.request_of(self._database.tables, record))  # type: ignore[no-any-return]

    async def has_live_before(self, shard: int, epoch: int) -> bool:
        live = await self._ask(lambda: reading.live_of(self._database.tables, shard))
        found = [parse_reservation(shard, random_part, packed) for random_part, _, packed in live]
        return any(one.id.epoch < epoch for one in found)

    async def open_holds(self, shard: int, page: int) -> AsyncGenerator[list[tuple[str, str]], None]:
        live = await self._ask(lambda: reading.live_of(self._database.tables, shard))
        found = [(random_part, packed) for random_part, state, packed in live if state == "held"]
        for at in range(0, len(found), page):
            yield found[at : at + page]
            await self.ping()

    async def skus_with_holds(self, shard: int, page: int) -> AsyncGenerator[list[Sku], None]:
        found = await self._ask(lambda: reading.skus_with_holds_of(self._database.tables, shard))
        for at in range(0, len(found), page):
            yield found[at : at + page]
            await self.ping()

    async def search_reservations(self, query: ReservationQuery) -> list[tuple[str, str]]:
        raise NotImplementedError("no client of the simulation searches")

    async def list_skus(self, shop: str, after: str, limit: int) -> list[Sku]:
        raise NotImplementedError("no client of the simulation lists the catalogue")

    async def read_books(self, shard: int) -> Books:
        def work() -> Books:
            tables = self._database.tables
            books = Books(self._database.row(shard), reading.levels_of(tables, shard), {}, {})
            add_up(reading.live_of(tables, shard), books.held, books.committed)
            return books

        return await self._ask(work)  # type: ignore[no-any-return]

    async def read_events(self, shard: int, after_seq: int, limit: int) -> list[EventRow]:
        def work() -> list[EventRow]:
            events = reading.events_of(self._database.tables, shard)
            return [event for event in events if event.seq > after_seq][:limit]

        return await self._ask(work)  # type: ignore[no-any-return]

    async def events_at(self, shard: int, seqs: Sequence[int]) -> list[EventRow]:
        def work() -> list[EventRow]:
            return [event for event in reading.events_of(self._database.tables, shard) if event.seq in seqs]

        return await self._ask(work)  # type: ignore[no-any-return]

    async def change_before(self, shard: int, random_part: str, seq: int) -> EventRow | None:
        def work() -> EventRow | None:
            found = None
            for event in reading.events_of(self._database.tables, shard):
                if event.reservation == random_part and event.type != "stock.reserved" and event.seq < seq:
                    found = event
            return found

        return await self._ask(work)  # type: ignore[no-any-return]

    async def stored_page(self, shard: int, after: str, limit: int) -> list[StoredReservation]:
        def work() -> list[StoredReservation]:
            found = reading.stored_of(self._database.tables, shard)
            return [one for one in found if one.random_part > after][:limit]

        return await self._ask(work)  # type: ignore[no-any-return]

    async def stored_among(self, random_parts: Sequence[str]) -> dict[str, StoredReservation]:
        def work() -> dict[str, StoredReservation]:
            wanted = set(random_parts)
            found = reading.stored_of(self._database.tables, None)
            return {one.random_part: one for one in found if one.random_part in wanted}

        return await self._ask(work)  # type: ignore[no-any-return]


def _settle(answer: asyncio.Future[Any], told: Any) -> None:
    if answer.done():
        return
    if isinstance(told, BaseException):
        answer.set_exception(told)
    else:
        answer.set_result(told)


def _commit_late(transaction: Transaction) -> None:
    """The server was still at work when the connection broke."""
    if not transaction.is_over:
        transaction.resume()
        transaction.commit()
