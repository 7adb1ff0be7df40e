"""From the status words of scripts to answers and refusals. The words stand in the headers of lua/."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from gateway import metrics
from gateway.domain.answer import LevelAnswer, ReservationAnswer
from gateway.domain.errors import (
    Corrupt,
    DurableStoreUnavailable,
    ExtensionLimit,
    GatewayError,
    HotStoreUnavailable,
    IdempotencyKeyReused,
    InsufficientOnHand,
    InvalidRequest,
    OutOfStock,
    Overloaded,
    ReservationConfirmed,
    ReservationExpired,
    ReservationFulfilled,
    ReservationNotConfirmed,
    ReservationNotFound,
    ReservationReleased,
    SkuNotFound,
    StaleSequence,
    UnknownSku,
    VersionConflict,
)
from gateway.domain.identifier import Position
from gateway.domain.instant import rfc3339
from gateway.domain.packed import PackedReservation
from gateway.domain.reservation import CONFIRMED, EXPIRED, FULFILLED, HELD, RELEASED
from gateway.durable.ledger import LedgerUnavailable
from gateway.hot.operations import parse_shortages, parse_sku

T = TypeVar("T")

_STATE_ERRORS: dict[str, type[GatewayError]] = {
    CONFIRMED: ReservationConfirmed,
    FULFILLED: ReservationFulfilled,
    RELEASED: ReservationReleased,
    EXPIRED: ReservationExpired,
}


async def durable_read(reading: Awaitable[T]) -> T:
    """What the ledger read. Raises DurableStoreUnavailable when it does not answer."""
    try:
        return await reading
    except LedgerUnavailable as problem:
        metrics.LEDGER_ERRORS["read"].inc()
        raise DurableStoreUnavailable("the durable store does not answer") from problem


def no_orphans(names: set[str]) -> None:
    """Pass when no name is left. Raises Corrupt: the books name something that is in neither store."""
    if names:
        raise Corrupt(f"the books name what is in neither store: {', '.join(sorted(names)[:5])}")


def reserved(status: str, fields: list[str], shard: int) -> ReservationAnswer:
    """The reservation that reserve made, or made before under the same key. Raises what it refused with."""
    if status in ("RESERVED", "REPLAYED"):
        reservation = PackedReservation(shard, fields[0], fields[1])
        shortages = parse_shortages(fields[2]) if fields[2] else []
        return ReservationAnswer(reservation, False, status == "REPLAYED", shortages=shortages)
    if status == "OUT_OF_STOCK":
        raise OutOfStock(shortages=parse_shortages(fields[0]))
    if status == "UNKNOWN_SKU":
        raise UnknownSku(skus=list(dict.fromkeys(fields)))
    raise _common(status)


def changed(operation: str, status: str, fields: list[str], shard: int, public_id: str) -> ReservationAnswer:
    """The reservation after extend, confirm, fulfil or release. Raises what they refused with."""
    if status in ("EXTENDED", "CONFIRMED", "FULFILLED", "RELEASED"):
        reservation = PackedReservation(shard, fields[0], fields[1])
        return ReservationAnswer(reservation, False, reacquired=status == "CONFIRMED" and fields[2] == "1")
    if status == "STATE":
        reservation = PackedReservation(shard, fields[0], fields[1])
        if reservation.state == HELD:  # the one thing a live hold refuses is to be fulfilled
            raise ReservationNotConfirmed(id=str(reservation.id))
        raise _STATE_ERRORS[reservation.state](id=str(reservation.id))
    if status == "NOT_FOUND":
        raise ReservationNotFound
    if status == "OUT_OF_STOCK":
        raise OutOfStock(shortages=parse_shortages(fields[0]))
    if status == "EXTENSION_LIMIT":
        raise ExtensionLimit(id=public_id, latest_expires_at=rfc3339(int(fields[1])))
    if status == "NO_TIER":
        raise _invalid("tier", f"the hold's tier {fields[0]!r} is not configured any more; name one that is")
    if status == "TTL_TOO_LONG":
        raise _invalid("ttl_seconds", f"must be at most {int(fields[1]) // 1000}, the most of tier {fields[0]!r}")
    raise _common(status)


def level_written(status: str, fields: list[str], location: str, shard: int) -> LevelAnswer:
    """The level after put or adjust. Raises what they refused with."""
    if status in ("APPLIED", "UNCHANGED", "ADJUSTED", "REPLAYED"):
        sku = parse_sku(fields[0])
        level = sku.levels[location]
        applied = status == "APPLIED" if status in ("APPLIED", "UNCHANGED") else None
        position = Position(shard, level.epoch, level.seq)
        return LevelAnswer(sku.shop, sku.sku, level, position, False, applied, status == "REPLAYED")
    if status == "STALE":
        raise StaleSequence(current_sequence=int(fields[0]))
    if status == "CONFLICT":
        raise VersionConflict(current_version=int(fields[0]))
    if status == "NO_COUNT":
        raise _invalid("on_hand", "is required together with `reflects`")
    if status == "NO_LEVEL":
        raise SkuNotFound
    if status == "INSUFFICIENT":
        raise InsufficientOnHand(on_hand=int(fields[0]))
    if status == "TOO_LARGE":
        raise _invalid("delta", f"on_hand is {fields[0]} and may not pass 1000000000")
    if status == "TOO_MANY_SOURCES":
        raise _invalid("source", "100 other sources have told about this level, which is the most")
    raise _common(status)


def unless_resent(refusal: GatewayError, is_resent: bool) -> GatewayError:
    """The refusal; but where an earlier reply was lost, that attempt may have been applied, and others have gone on since."""
    if is_resent and refusal.outcome == "not_applied":
        return HotStoreUnavailable("the reply to an earlier attempt was lost; repeat the request", outcome="unknown")
    return refusal


def refused_sku(status: str) -> GatewayError:
    """What pause and resume refuse with."""
    return SkuNotFound() if status == "NO_LEVEL" else _common(status)


def _common(status: str) -> GatewayError:
    if status == "REUSED":
        return IdempotencyKeyReused()
    if status == "BACKLOG":
        return Overloaded("too much is not yet persisted")
    return Corrupt(f"a script answered {status}, which nobody expects here")


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(errors=[{"field": field, "message": message}])
