"""The rows of the durable store, as they are handed in and out: plain values, no SQL.

A row is what the store keeps, not what the service works with: a reservation's text stays packed, and a level comes without its name
around it. Instants are milliseconds by Redis' clock unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gateway.domain.stock import Level
from gateway.domain.totals import NOTHING, Totals

ShardState = Literal["open", "recovering", "halted"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What every gateway on one store must agree on. `id` is minted with the store."""

    id: str
    shards: int
    hash: str
    prefix: str


@dataclass(frozen=True, slots=True)
class ShardRow:
    """The authority over one shard.

    `digest` is that of the entry that ends at `checkpoint`; `rebuilt_ms` 0 = never rebuilt;
    `owner_deadline_ms` is by the store's clock. `halted_reason` is there from the halt until an operator's repair
    has opened the shard again, so also while it is `recovering` under that repair. `totals` are those at `checkpoint`.
    """

    shard: int
    epoch: int
    generation: int
    state: ShardState
    owner: str
    owner_deadline_ms: int
    checkpoint: int
    digest: str
    rebuilt_ms: int
    halted_reason: str | None = None
    totals: Totals = NOTHING

    @property
    def is_halted(self) -> bool:
        """Whether nobody but the operator may open it."""
        return self.state == "halted" or self.halted_reason is not None


@dataclass(slots=True)
class EventRow:
    """One event as stored. `digest` is its entry's, which ends at `entry_seq`; `payload` holds the event's own lines."""

    epoch: int
    seq: int
    entry_seq: int
    type: str
    at_ms: int
    shop: str
    reservation: str | None
    payload: str
    digest: str


@dataclass(slots=True)
class RequestRow:
    """An idempotency record: what a key did, where in the history, and the fingerprint of its body.

    `target` is a reservation's random part or ''.
    """

    record: str
    operation: str
    fingerprint: str
    target: str
    epoch: int
    seq: int
    at_ms: int


@dataclass(slots=True)
class ReservationRow:
    """A reservation as stored: the packed text is complete, the other columns are there to search by.

    `sku` is the only sku, or None when there are several, which are then in `skus`.
    """

    random_part: str
    shop: str
    state: str
    reference: str
    customer: str
    sku: str | None
    skus: tuple[str, ...]
    created_epoch: int
    created_seq: int
    created_ms: int
    deadline_ms: int
    ended_ms: int | None
    epoch: int
    seq: int
    packed: str


class StoredReservation(NamedTuple):
    """What the store says of a reservation: the columns it is found by, beside the text they were made of."""

    random_part: str
    state: str
    seq: int
    packed: str


@dataclass(slots=True)
class LevelRow:
    """A level after its newest change in the batch."""

    shop: str
    sku: str
    location: str
    on_hand: int
    held: int
    committed: int
    deducted: int
    safety_stock: int
    version: int
    epoch: int
    seq: int
    updated_ms: int


@dataclass(slots=True)
class SourceRow:
    """What one source last told about a level."""

    shop: str
    sku: str
    location: str
    source: str
    sequence: int
    deduction: int
    digest: str


@dataclass(slots=True)
class SkuRow:
    """A sku's pause."""

    shop: str
    sku: str
    paused: bool
    reason: str
    epoch: int
    seq: int


@dataclass(slots=True)
class Batch:
    """The log from `first_seq` to `last_seq`: its events, and the newest row of everything they touched, each key once."""

    shard: int
    epoch: int
    first_seq: int
    last_seq: int
    previous_digest: str
    digest: str
    events: list[EventRow] = field(default_factory=list)
    levels: dict[tuple[str, str, str], LevelRow] = field(default_factory=dict)
    sources: dict[tuple[str, str, str, str], SourceRow] = field(default_factory=dict)
    skus: dict[tuple[str, str], SkuRow] = field(default_factory=dict)
    reservations: dict[str, ReservationRow] = field(default_factory=dict)
    requests: dict[str, RequestRow] = field(default_factory=dict)
    #: What its checkpoint event told, by seq: at most one, and the batch ends with it.
    totals: dict[int, Totals] = field(default_factory=dict)
    #: The durable store is further behind than it may be: requests may wait a little for this batch.
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class ReservationQuery:
    """A search over reservations of one shop, newest first. `now_ms` makes a held one past its deadline count as expired."""

    shop: str
    reference: str | None
    customer: str | None
    sku: str | None
    state: str | None
    now_ms: int
    limit: int
    before: tuple[int, str] | None  # (created_ms, random_part) of the last one seen


@dataclass(slots=True)
class Books:
    """One consistent snapshot of a shard for the conservation check, in text-free numbers: levels come without their sources."""

    shard: ShardRow
    levels: dict[tuple[str, str, str], Level]
    held: dict[tuple[str, str, str], int]
    committed: dict[tuple[str, str, str], int]
