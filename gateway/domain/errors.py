"""Everything that can be answered instead of a success, as one tree.

GatewayError
├── Refused                     understood, and the answer is no; repeating changes nothing
│   ├── MalformedRequest, MalformedJson, IdempotencyKeyRequired
│   ├── Unauthenticated, Forbidden
│   ├── ReservationNotFound, SkuNotFound, NotFound
│   ├── MethodNotAllowed, BodyTooLarge, UnsupportedMediaType, RequestTimeout, HeadersTooLarge
│   ├── OutOfStock, StaleSequence, InsufficientOnHand, VersionConflict, ExtensionLimit
│   ├── ReservationConfirmed, ReservationExpired, ReservationReleased,
│   │   ReservationFulfilled, ReservationNotConfirmed
│   ├── ReservationLost
│   └── InvalidRequest, UnknownSku, IdempotencyKeyReused, RateLimited
├── Unavailable                 no answer now; repeat the same request
│   ├── Overloaded, HotStoreUnavailable, ShardRecovering, and of the latter ShardHalted
│   └── DurabilityUnknown, DurableStoreUnavailable
└── Corrupt                     a law is broken; stop and tell a human (`internal_error`, as the root itself)

`code` is stable and part of the contract; the status that goes with it is known to `web/problems.py` alone. The first line
of a class' docstring is its title.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Outcome = Literal["not_applied", "unknown", "applied"]


class GatewayError(Exception):
    """Something unexpected happened, or a law of the books is broken; the log has the request id.

    Repeat it with the same key, or on the same reservation, to learn what came of it.
    """

    # The root itself and Corrupt answer with this code; every other class has one of its own.
    code: ClassVar[str] = "internal_error"
    outcome: Outcome = "not_applied"

    def __init__(self, detail: str = "", *, outcome: Outcome | None = None, **extras: Any) -> None:
        self.detail = detail or self.title()
        super().__init__(self.detail)
        self.extras = extras
        if outcome is not None:
            self.outcome = outcome

    @classmethod
    def title(cls) -> str:
        """What went wrong in general: the first line of the class' docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")


class Refused(GatewayError):
    """The request was understood and refused."""


class Unavailable(GatewayError):
    """There is no answer now; repeat the same request."""

    retry_after_seconds: int = 1


class Corrupt(GatewayError):
    """A law of the books is broken; the shard is closed until it is repaired."""

    code = "internal_error"
    outcome: Outcome = "unknown"


class MalformedRequest(Refused):
    """The request is not valid HTTP."""

    code = "malformed_request"


class MalformedJson(Refused):
    """The body is not one JSON text in UTF-8."""

    code = "malformed_json"


class IdempotencyKeyRequired(Refused):
    """This call needs an Idempotency-Key."""

    code = "idempotency_key_required"


class Unauthenticated(Refused):
    """A valid API key is needed."""

    code = "unauthenticated"


class Forbidden(Refused):
    """The API key does not allow this."""

    code = "forbidden"


class ReservationNotFound(Refused):
    """There is no such reservation."""

    code = "reservation_not_found"


class SkuNotFound(Refused):
    """There is no such sku or level."""

    code = "sku_not_found"


class NotFound(Refused):
    """There is nothing at this path."""

    code = "not_found"


class MethodNotAllowed(Refused):
    """This path does not know the method."""

    code = "method_not_allowed"


class BodyTooLarge(Refused):
    """The body is larger than allowed."""

    code = "body_too_large"


class UnsupportedMediaType(Refused):
    """The Content-Type is not one this call reads."""

    code = "unsupported_media_type"


class RequestTimeout(Refused):
    """The request did not arrive in time."""

    code = "request_timeout"


class HeadersTooLarge(Refused):
    """The request line or headers are larger than allowed."""

    code = "headers_too_large"


class OutOfStock(Refused):
    """Not enough units are available.

    `shortages` tells every short line: sku, location, requested, available, reason, next_release_at.
    """

    code = "out_of_stock"


class ReservationConfirmed(Refused):
    """The reservation is already confirmed."""

    code = "reservation_confirmed"


class ReservationExpired(Refused):
    """The hold's deadline has passed; its units are back on sale."""

    code = "reservation_expired"


class ReservationReleased(Refused):
    """The reservation was released."""

    code = "reservation_released"


class ReservationFulfilled(Refused):
    """The reservation is already fulfilled."""

    code = "reservation_fulfilled"


class ReservationNotConfirmed(Refused):
    """The reservation is not confirmed yet."""

    code = "reservation_not_confirmed"


class ExtensionLimit(Refused):
    """The hold would outlive its tier's longest lifetime."""

    code = "extension_limit"


class StaleSequence(Refused):
    """The source has already told something as new or newer about this level."""

    code = "stale_sequence"


class InsufficientOnHand(Refused):
    """The adjustment would take on_hand below zero."""

    code = "insufficient_on_hand"


class VersionConflict(Refused):
    """The level has changed since the version named in If-Match."""

    code = "version_conflict"


class ReservationLost(Refused):
    """The hold was lost together with Redis before it was persisted."""

    code = "reservation_lost"


class InvalidRequest(Refused):
    """The request is not valid.

    `errors` names each wrong field: [{"field": "lines[0].quantity", "message": ...}].
    """

    code = "invalid_request"


class UnknownSku(Refused):
    """The request names a sku that has no level."""

    code = "unknown_sku"


class IdempotencyKeyReused(Refused):
    """The Idempotency-Key was used before with another body."""

    code = "idempotency_key_reused"


class RateLimited(Refused):
    """The API key is over its rate limit."""

    code = "rate_limited"


class Overloaded(Unavailable):
    """The gateway is working on as much as it can."""

    code = "overloaded"


class HotStoreUnavailable(Unavailable):
    """Redis does not answer."""

    code = "hot_store_unavailable"


class ShardRecovering(Unavailable):
    """The shard is being opened or recovered."""

    code = "shard_recovering"


class ShardHalted(ShardRecovering):
    """The shard waits for its operator."""

    code = "shard_halted"
    retry_after_seconds = 5


class DurabilityUnknown(Unavailable):
    """The change is applied, but its commit was not seen in time."""

    code = "durability_unknown"
    outcome: Outcome = "unknown"


class DurableStoreUnavailable(Unavailable):
    """The durable store does not answer."""

    code = "durable_store_unavailable"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of a request, by its path in the body, header or query."""

    field: str
    message: str


def all_errors() -> list[type[GatewayError]]:
    """Every class of the tree that has a code of its own, in the order of this file."""
    found: list[type[GatewayError]] = []
    waiting: list[type[GatewayError]] = [GatewayError]
    while waiting:
        current = waiting.pop(0)
        waiting.extend(current.__subclasses__())
        if "code" in vars(current):
            found.append(current)
    return found
