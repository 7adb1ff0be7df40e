"""The shapes of answers as the OpenAPI document tells them. Tests hold what `rendering.py` writes against them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.web.problems import STATUS_OF_CODE

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-21T10:00:00.000Z"])]
PositionText = Annotated[
    str, Field(pattern=r"^[0-9]+-[0-9]+-[0-9]+$", examples=["0-1-1042"], description="shard-epoch-seq")
]
DURABLE = "Whether the last change is committed in the durable store."


class Shape(BaseModel):
    """An answer. Clients must expect further fields: names are added, never changed."""

    model_config = ConfigDict(strict=True, extra="forbid")


class FieldFault(Shape):
    """One wrong field of a request."""

    field: str = Field(examples=["lines[0].quantity"])
    message: str


class Shortage(Shape):
    """Why a line could not be held."""

    sku: str
    location: str | None = Field(description="null: over the locations considered.")
    requested: int
    available: int
    reason: Literal["sold_out", "held", "reserved_for_safety", "paused"]
    next_release_at: Instant | None = Field(description="The earliest moment one of the holds in the way falls due.")


class Problem(BaseModel):
    """An RFC 9457 problem. `code` is stable; `outcome` says whether anything happened."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(json_schema_extra={"enum": list(STATUS_OF_CODE)})
    outcome: Literal["not_applied", "unknown", "applied"]
    request_id: str
    errors: list[FieldFault] | None = Field(None, description="With `invalid_request`: every wrong field.")
    shortages: list[Shortage] | None = Field(None, description="With `out_of_stock`: every short line.")
    skus: list[str] | None = Field(None, description="With `unknown_sku`.")
    current_sequence: int | None = Field(None, description="With `stale_sequence`.")
    current_version: int | None = Field(None, description="With `version_conflict`.")
    id: str | None = Field(None, description="With `durability_unknown`: the reservation to read.")
    retry_after_seconds: int | None = Field(
        None, description="In a batch's results with 429 and 503: what `Retry-After` tells for a single call."
    )


class Line(Shape):
    """Units of one sku at one location."""

    sku: str
    location: str
    quantity: int


class StoredReservation(Shape):
    """A reservation, and what the answer about it is worth."""

    id: str = Field(examples=["rsv_0-1-1042-q83vEjRWeJq83vEj"])
    shop: str
    state: Literal["held", "confirmed", "fulfilled", "released", "expired"]
    tier: str
    reference: str | None
    customer: str | None
    channel: str | None
    lines: list[Line]
    created_at: Instant
    expires_at: Instant | None = Field(description="null unless held.")
    confirmed_at: Instant | None
    ended_at: Instant | None
    position: PositionText
    durable: bool = Field(description=DURABLE)


class Reservation(StoredReservation):
    """A reservation as an operation left it."""

    reacquired: Literal[True] | None = Field(None, description="Only where an expired hold took its units again.")
    shortages: list[Shortage] | None = Field(None, description="Only with `allow_partial`.")


class ReservationPage(Shape):
    """Reservations that match; `next_cursor` is null at the end."""

    reservations: list[StoredReservation]
    next_cursor: str | None
    as_of_position: PositionText


class Level(Shape):
    """The counters of one location."""

    location: str
    on_hand: int
    held: int
    committed: int
    deductions: dict[str, int]
    safety_stock: int
    available: int = Field(description="on_hand - held - committed - deductions - safety_stock; may be negative.")
    sequences: dict[str, int]
    version: int
    position: PositionText
    updated_at: Instant


class WrittenLevel(Level):
    """A level after a write."""

    sku: str
    shop: str
    durable: bool = Field(description=DURABLE)
    applied: bool | None = Field(None, description="PUT only: false where the source had told the same before.")


class Stock(Shape):
    """A sku with its totals and its levels."""

    sku: str
    shop: str
    available: int
    on_hand: int
    held: int
    committed: int
    paused: bool
    locations: list[Level]
    position: PositionText
    durable: bool = Field(description=DURABLE)


class StockFound(Shape):
    """The skus found, in the order asked, and the names of the others."""

    stock: list[Stock]
    not_found: list[str]


class StockPage(Shape):
    """A page of the catalogue; `next_cursor` is null at the end."""

    stock: list[Stock]
    next_cursor: str | None
    as_of_position: PositionText


class BatchResult(Shape):
    """What the operation's own call would have answered."""

    status: int
    body: Reservation | WrittenLevel | Problem
    replayed: Literal[True] | None = None


class BatchResults(Shape):
    """One result per operation, in order."""

    results: list[BatchResult]


class RejectedRow(Shape):
    """A row that was left out."""

    row: int = Field(description="Counted from 1, without the header.")
    error: str


class ImportResult(Shape):
    """What became of the rows; at most 1000 rejected ones are listed."""

    applied: int
    unchanged: int
    stale: int
    rejected: list[RejectedRow]
    rejected_count: int


class Health(Shape):
    """The process lives."""

    status: Literal["ok"]


class Readiness(Shape):
    """Whether the gateway can do its work, check by check."""

    status: Literal["ready", "not_ready", "draining"]
    checks: dict[str, Any]


class Conservation(Shape):
    """What the books were compared with, and each law that does not hold."""

    checked: dict[str, int]
    violations: list[dict[str, Any]]


class ShardState(Shape):
    """One shard as its row in the durable store has it."""

    shard: int
    state: Literal["open", "recovering", "halted"]
    halted_reason: str | None
    epoch: int
    generation: int
    checkpoint: int
    owner: str


class Shards(Shape):
    """All shards."""

    shards: list[ShardState]


class RepairStep(Shape):
    """One thing that a repair does."""

    kind: str
    where: str
    change: str
    reason: str


class RepairTask(Shape):
    """What only a human can put right."""

    kind: str
    where: str
    detail: str
    advice: str


class Repair(Shape):
    """What a repair would do now, in this order, or has done: `applied`."""

    applied: bool
    plan_id: str
    shard: int
    state: Literal["open", "recovering", "halted"]
    halted_reason: str | None
    adopt: Literal["redis", "database"] | None
    steps: list[RepairStep]
    for_human: list[RepairTask]


class PolicyInForce(BaseModel):
    """The tiers, limits and thresholds in force, with their source and version."""

    model_config = ConfigDict(extra="allow")
