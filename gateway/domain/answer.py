"""What a caller is told: the thing as it is now, what the answer is worth, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.domain.errors import GatewayError
from gateway.domain.identifier import Position
from gateway.domain.packed import PackedReservation
from gateway.domain.reservation import Reservation
from gateway.domain.stock import Level, Sku

#: A reservation as an answer carries it: with every field, or as the scripts told it.
Told = Reservation | PackedReservation


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a line could not be held.

    `reason` is sold_out, held, reserved_for_safety or paused; `location` None = over those considered.
    """

    sku: str
    location: str | None
    requested: int
    available: int
    reason: str
    next_release_ms: int | None


@dataclass(slots=True)
class ReservationAnswer:
    """A reservation, and whether its last change is committed in the durable store."""

    told: Told
    durable: bool
    replayed: bool = False
    reacquired: bool = False
    shortages: list[Shortage] = field(default_factory=list)

    @property
    def reservation(self) -> Reservation:
        """The reservation with every field."""
        return self.told.unpack() if isinstance(self.told, PackedReservation) else self.told


@dataclass(slots=True)
class LevelAnswer:
    """One level after a write. `applied` is None where the operation knows no such thing."""

    shop: str
    sku: str
    level: Level
    position: Position
    durable: bool
    applied: bool | None = None
    replayed: bool = False


@dataclass(slots=True)
class SkuAnswer:
    """A sku with all its levels, read in the order of writes."""

    sku: Sku
    position: Position
    durable: bool
    shard: int = 0


@dataclass(slots=True)
class ReservationPage:
    """Reservations of a search; `next_cursor` None at the end. `as_of` is the durable checkpoint the search saw."""

    reservations: list[Reservation]
    next_cursor: str | None
    as_of: Position


@dataclass(slots=True)
class StockPage:
    """Skus of the catalogue by name; `next_cursor` None at the end."""

    stock: list[SkuAnswer]
    next_cursor: str | None
    as_of: Position


@dataclass(slots=True)
class ImportRow:
    """One row of a stock import, checked for form, with the row's number as the caller counts them (from 1, header not counted)."""

    row: int
    sku: str
    location: str
    on_hand: int
    safety_stock: int | None
    sequence: int


#: The result of one operation of a batch.
BatchResult = ReservationAnswer | LevelAnswer | GatewayError


@dataclass(slots=True)
class Readiness:
    """Whether the gateway can do its work: per check `ok`, a word on it, and warnings."""

    is_ready: bool
    checks: dict[str, dict[str, object]]


@dataclass(slots=True)
class Conservation:
    """The outcome of a conservation check: how much was looked at, and each violation in words."""

    checked: dict[str, int]
    violations: list[dict[str, object]]
