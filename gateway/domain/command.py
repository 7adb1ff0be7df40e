"""What a caller may ask of the books, already checked for form. Quantities are units, durations whole seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ack = Literal["memory", "durable"]


@dataclass(slots=True)
class Call:
    """The circumstances of a request: for which shop, by whom, and what the answer must survive.

    `ack` None takes the operation's default. `deadline_ms` 0 means none; else the request is not applied when it has
    waited longer
    than that since `started_s` (the loop's monotonic clock).
    """

    shop: str
    actor: str
    ack: Ack | None = None
    deadline_ms: int = 0
    started_s: float = 0.0


@dataclass(slots=True)
class Wish:
    """Units wanted of a sku, at one location or at whichever has them."""

    sku: str
    quantity: int
    location: str | None = None


@dataclass(slots=True)
class Reserve:
    """Hold all lines, or what there is of each with `allow_partial`.

    `fingerprint` tells this body from another under one key.
    """

    lines: list[Wish]
    tier: str
    ttl_seconds: int | None = None
    reference: str | None = None
    customer: str | None = None
    channel: str | None = None
    locations: list[str] | None = None
    allow_partial: bool = False
    idempotency_key: str | None = None
    fingerprint: str = ""


@dataclass(slots=True)
class Extend:
    """Move a live hold's deadline to `ttl_seconds` from now, in its tier or another."""

    id: str
    tier: str | None = None
    ttl_seconds: int | None = None


@dataclass(slots=True)
class Confirm:
    """Make a hold a sale; with `reacquire` also one past its deadline, if its units are still free."""

    id: str
    if_expired: Literal["reject", "reacquire"] = "reject"
    fulfil: bool = False


@dataclass(slots=True)
class Fulfil:
    """The units of a confirmed reservation left the building."""

    id: str


@dataclass(slots=True)
class Release:
    """Give the units of a hold or of a confirmed reservation back."""

    id: str
    reason: str | None = None


@dataclass(slots=True)
class Adjust:
    """Move on_hand by `delta`. `if_match` is the version the caller saw, or None."""

    sku: str
    location: str
    delta: int
    reason: str
    reference: str | None
    idempotency_key: str
    fingerprint: str
    if_match: int | None = None


@dataclass(slots=True)
class PutLevel:
    """What a source tells about a level, under its own sequence. None leaves a field as it is.

    `reflects` are public ids of confirmed reservations whose units `on_hand` no longer contains.
    """

    sku: str
    location: str
    source: str
    sequence: int
    on_hand: int | None = None
    deduction: int | None = None
    safety_stock: int | None = None
    reflects: tuple[str, ...] = ()
    if_match: int | None = None


@dataclass(slots=True)
class Pause:
    """Take a sku off sale, or put it back."""

    sku: str
    paused: bool
    reason: str | None = None


#: What `POST /v1/batch` may carry.
BatchCommand = Reserve | Extend | Confirm | Fulfil | Release | Adjust
