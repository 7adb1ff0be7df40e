"""What the durable store is asked for: one protocol, implemented for PostgreSQL and for SQLite.

The first statement of every append is the gate: the shard's row moves from (epoch, checkpoint, digest) to the
batch's end, or nothing of the batch is written. So each change is stored exactly once and in order, and a writer
with an old epoch is fenced.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Literal, Protocol

from gateway.domain.stock import Sku
from gateway.durable.rows import (
    Batch,
    Books,
    Deployment,
    EventRow,
    LevelRow,
    RequestRow,
    ReservationQuery,
    ReservationRow,
    ShardRow,
    ShardState,
    SkuRow,
    SourceRow,
    StoredReservation,
)


class LedgerError(Exception):
    """The durable store could not do what it was asked."""


class LedgerUnavailable(LedgerError):
    """The durable store does not answer or refused the connection; nothing was written."""


class CommitUnknown(LedgerError):
    """COMMIT was sent and its answer was lost, or came with a warning.

    Whether it was written, the gate tells: by reading the shard's row or by running again.
    """


class SchemaMismatch(LedgerError):
    """The schema is newer than this version, older and `durable.migrate` is `refuse`, or not a gateway's."""


class DeploymentMismatch(LedgerError):
    """The store belongs to another deployment, or to one with other shards, hash or prefix."""


class LedgerCorrupt(LedgerError):
    """An alarm, nothing to ignore: a row that must not exist, cannot be stored, or contradicts the log.

    An event stored twice is one; a batch with a gap; text that is not Unicode; a damaged file. Nothing of the
    transaction was written, and repeating it changes nothing.
    """


class TotalsDiffer(LedgerCorrupt):
    """The running totals that Redis told are not the durable store's: a counter was changed beside the scripts.

    Nothing of the batch was written. Which side is right is not for a program to decide.
    """


class Ledger(Protocol):
    """The durable store.

    Every method raises `LedgerUnavailable` when the store does not answer; those that write may raise
    `CommitUnknown`. Reads go to the primary and see every commit that was answered before they were asked.
    """

    async def open(self) -> None:
        """Connections can be made; the schema was not looked at yet. A read-only standby is refused."""

    async def close(self) -> None:
        """No connection is left. Safe to repeat."""

    async def prepare(self, migrate: Literal["auto", "refuse"]) -> None:
        """The schema is this version's. Raises SchemaMismatch. Safe with several gateways starting at once."""

    async def verify_schema(self) -> None:
        """The schema is this version's; nothing was changed or locked. Raises SchemaMismatch."""

    async def settle_deployment(self, shards: int, hash_name: str, prefix: str) -> Deployment:
        """The store's deployment: recorded by the first gateway, compared ever after.

        Raises DeploymentMismatch. Safe to repeat.
        """

    async def ping(self) -> None:
        """The store has answered."""

    async def advice(self) -> list[str]:
        """What is unwise about the store, a sentence each: fsync or synchronous_commit off, a tmpfs and the like.

        Raises nothing for them.
        """

    async def read_shard(self, shard: int) -> ShardRow:
        """The shard's row; made on first use: epoch 0, generation 0, recovering, no owner, checkpoint 0, GENESIS."""

    async def raise_epoch(
        self, shard: int, seen_epoch: int, owner: str, lease_ms: int, *, by_operator: bool = False, above: int = 0
    ) -> ShardRow | None:
        """The shard is `recovering` under epoch seen+1, or above+1 where that is more.

        It is `owner`'s until now + lease_ms by the store's clock.

        None, and nothing changed, when the epoch is not the seen one any more, when another owner recovers it
        within its deadline, or when the shard halted: only `by_operator` may raise that, and until it is opened
        nobody else may, also when the repair that raised it died. Its own owner may raise it again. Takes the
        gate's row lock. After CommitUnknown read the row: it names its owner.
        """

    async def keep_claim(self, shard: int, epoch: int, owner: str, lease_ms: int) -> bool:
        """The shard stays `owner`'s, who recovers it under `epoch`, until now + lease_ms. False when it was overtaken."""

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
        """The shard is `open` under `epoch`, and `ended_epochs` (epoch, end_seq) are in epoch_history.

        False, and nothing changed, when `owner` was overtaken or the shard halted. rebuilt_ms 0 keeps the stored one.
        A shard that had halted is so no more, and rebuilds are counted from zero again. Safe to repeat
        by the same owner. Raises LedgerCorrupt for an epoch that ended elsewhere by an earlier record.
        """

    async def halt(self, shard: int, epoch: int, reason: str) -> bool:
        """The shard is `halted`: nobody writes to its history any more and nobody opens it, until an operator's repair.

        False, and nothing changed, when the epoch is not the given one any more. Of a halted one the first reason
        stays. Takes the gate's row lock. Safe to repeat, so also after CommitUnknown.
        """

    async def rebuilds_within(self, shard: int, window_ms: int) -> int:
        """How often the shard was opened by a counted rebuild in the last `window_ms`, by any gateway, since the last repair."""

    async def recount(self, shard: int, epoch: int, owner: str) -> bool:
        """The shard's totals are what its levels add up to. False, and nothing changed, when `owner` was overtaken. Safe to repeat."""

    async def epoch_ends(self, shard: int) -> dict[int, int]:
        """Where each ended epoch ended: {epoch: end_seq}."""

    async def append(self, batch: Batch, *, owner: str | None = None) -> bool:
        """The batch is committed, whole. False, and nothing written, when the gate refused it.

        That is: someone else moved the shard, or our epoch is over. `owner` None: the gate wants state `open`;
        else state `recovering` under that owner (the tail of an adopted log).

        The batch's events must be exactly first_seq..last_seq and its rows lie within; a reservation created
        within the batch must not be stored yet. A checkpoint event is its last one. Raises LedgerCorrupt otherwise,
        TotalsDiffer, and CommitUnknown.
        """

    async def read_sku(self, shop: str, sku: str) -> Sku | None:
        """The sku with every level and its sources, or None when it has no level and is not paused."""

    async def read_skus(self, shop: str, skus: Sequence[str]) -> dict[str, Sku]:
        """The same for many, by name; those that would be None are left out. All are of one state of the store."""

    async def read_reservation(self, random_part: str) -> str | None:
        """The packed text."""

    async def read_request(self, record: str) -> RequestRow | None:
        """What a key did last, or None."""

    async def has_live_before(self, shard: int, epoch: int) -> bool:
        """Whether a reservation is stored as held or confirmed that was created before this epoch. Cost: O(live reservations)."""

    def open_holds(self, shard: int, page: int) -> AsyncGenerator[list[tuple[str, str]], None]:
        """(random part, packed) of every reservation that is stored as held, in pages of one snapshot.

        `skus_with_holds` reads a snapshot of its own. The two agree as long as nobody can append in between: while
        the shard is `recovering` under the reader's epoch. A reader that stops early should close the iterator
        (`contextlib.aclosing`), which holds a connection.
        """

    def skus_with_holds(self, shard: int, page: int) -> AsyncGenerator[list[Sku], None]:
        """Every sku with a level that has held or committed units, complete, by (shop, sku), in pages likewise."""

    async def search_reservations(self, query: ReservationQuery) -> list[tuple[str, str]]:
        """(random part, packed), newest first by (created_ms, random_part), at most `limit`.

        State `held` leaves out what is past its deadline at `now_ms`, state `expired` includes it. The packed
        text is as stored. Cost: an index per filter, O(limit) rows; state `expired` also looks at each row that
        is stored as held.
        """

    async def list_skus(self, shop: str, after: str, limit: int) -> list[Sku]:
        """Skus with a level, complete, by name in code point order, after the given one ('' = from the start)."""

    async def read_books(self, shard: int) -> Books:
        """The shard's levels beside what its reservations add up to, from one snapshot.

        `held` are the lines of reservations stored as held, also past their deadline; `committed` those of
        confirmed ones that are not settled. Levels come without their sources.
        """

    async def read_events(self, shard: int, after_seq: int, limit: int) -> list[EventRow]:
        """Events by seq, at most `limit`, after the given seq."""

    async def events_at(self, shard: int, seqs: Sequence[int]) -> list[EventRow]:
        """The events with these seqs, in any order; those that are not there are left out."""

    async def change_before(self, shard: int, random_part: str, seq: int) -> EventRow | None:
        """The last event of a reservation before this seq, its reserve not counted: that one stands at the birth in its id."""

    async def stored_page(self, shard: int, after: str, limit: int) -> list[StoredReservation]:
        """Reservations in every state by random part, at most `limit`, after the given one ('' = from the start)."""

    async def stored_among(self, random_parts: Sequence[str]) -> dict[str, StoredReservation]:
        """These reservations by random part; those that are not there are left out."""


__all__ = [
    "Batch",
    "Books",
    "CommitUnknown",
    "Deployment",
    "DeploymentMismatch",
    "EventRow",
    "Ledger",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerUnavailable",
    "LevelRow",
    "RequestRow",
    "ReservationQuery",
    "ReservationRow",
    "SchemaMismatch",
    "ShardRow",
    "ShardState",
    "SkuRow",
    "SourceRow",
    "StoredReservation",
]
