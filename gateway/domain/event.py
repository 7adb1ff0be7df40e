"""Events: one change each, chained entry by entry, in order within their shard.

An **entry** is what one script call appends to a shard's log: 1..n events with consecutive seqs. Its payload is text,
described in
lua/README.md: a line per fact, the first letter telling which. The digest of an entry covers the digest before it and
its payload, so
two histories that use the same numbers still differ.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

RESERVED: Final = "stock.reserved"
EXTENDED: Final = "stock.extended"
CONFIRMED: Final = "stock.confirmed"
RELEASED: Final = "stock.released"
EXPIRED: Final = "stock.expired"
SHIPPED: Final = "stock.shipped"
COUNTED: Final = "stock.counted"
ADJUSTED: Final = "stock.adjusted"
PAUSED: Final = "stock.paused"
RESUMED: Final = "stock.resumed"
CONFIGURED: Final = "stock.configured"
OPENED: Final = "shard.opened"
CHECKPOINT: Final = "shard.checkpoint"
#: What an operator's repair did: once for the shard, and once for each level and each reservation that it put right.
SHARD_REPAIRED: Final = "shard.repaired"
REPAIRED: Final = "stock.repaired"

#: Every type this version writes; a log entry with another one stops the flusher, it is never skipped.
EVENT_TYPES: Final = frozenset(
    {
        RESERVED,
        EXTENDED,
        CONFIRMED,
        RELEASED,
        EXPIRED,
        SHIPPED,
        COUNTED,
        ADJUSTED,
        PAUSED,
        RESUMED,
        CONFIGURED,
        OPENED,
        CHECKPOINT,
        SHARD_REPAIRED,
        REPAIRED,
    }
)

#: The digest before the first entry of a shard.
GENESIS: Final = "0" * 40


class EntryInvalid(ValueError):
    """A log entry is not one of ours: unknown type or shape. The shard stops rather than skip it."""


@dataclass(slots=True)
class Event:
    """One event as its lines in the log: the head's fields, and the other lines as they stand."""

    seq: int
    epoch: int
    type: str
    at_ms: int
    shop: str
    actor: str
    source: str
    reason: str
    reference: str
    payload: str
    lines: list[str] = field(default_factory=list)

    @property
    def facts(self) -> list[list[str]]:
        """The event's lines without the head, each split at its tabs; the first field is the letter."""
        return [line.split("\t") for line in self.lines]


def parse_events(payload: str) -> list[Event]:
    """The events of one entry, in order.

    Raises:
        EntryInvalid: the payload does not start with a head, a head is malformed or of an unknown type, or seqs are not
        consecutive.
    """
    events: list[Event] = []
    for block in ("\n" + payload).split("\nE\t")[1:]:
        head, *rows = block.split("\n")
        fields = head.split("\t")
        if len(fields) != 9 or fields[2] not in EVENT_TYPES:
            raise EntryInvalid(f"unknown event head {head[:80]!r}")
        seq, epoch, type, at_ms, shop, actor, source, reason, reference = fields
        event = Event(
            int(seq), int(epoch), type, int(at_ms), shop, actor, source, reason, reference, f"E\t{block}", rows
        )
        if events and event.seq != events[-1].seq + 1:
            raise EntryInvalid(f"seq {event.seq} follows {events[-1].seq} within one entry")
        events.append(event)
    if not events or not payload.startswith("E\t"):
        raise EntryInvalid("an entry without an event")
    return events


def chain(previous: str, payload: str) -> str:
    """The digest of an entry after `previous`, as the scripts compute it: SHA-1, 40 hex digits."""
    return hashlib.sha1(f"{previous}{payload}".encode(), usedforsecurity=False).hexdigest()


def is_chained(previous: str, payload: str, digest: str) -> bool:
    """Whether `digest` is the one that follows `previous` for this payload."""
    return chain(previous, payload) == digest
