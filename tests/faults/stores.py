"""What is left of a run in the two stores, as plain data, and the texts in it taken apart.

Read without the gateway's code, by the descriptions in lua/README.md: a checker that used the same parser would share its errors.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

GENESIS: Final = "0" * 40
STATES: Final = {"h": "held", "c": "confirmed", "f": "fulfilled", "r": "released", "e": "expired"}

#: shop, sku, location.
Place = tuple[str, str, str]
#: on_hand, held, committed, deducted, safety_stock.
Counters = tuple[int, int, int, int, int]
NOTHING: Final[Counters] = (0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation after one of its changes."""

    id: str
    state: str
    deadline_ms: int
    epoch: int
    seq: int
    birth: tuple[int, int]
    created_ms: int
    shop: str
    tier: str
    reference: str
    record: str = ""
    lines: tuple[tuple[str, str, int, bool], ...] = ()  # sku, location, quantity, settled

    def public_id(self, shard: int = 0) -> str:
        """The id that clients know."""
        return f"rsv_{shard}-{self.birth[0]}-{self.birth[1]}-{self.id}"


@dataclass(frozen=True, slots=True)
class Change:
    """A level after an event, and by how much the event moved it."""

    place: Place
    after: Counters
    version: int
    moved: Counters


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of events, as it stands."""

    seq: int
    epoch: int
    entry_seq: int
    type: str
    at_ms: int
    shop: str
    payload: str
    digest: str


@dataclass(frozen=True, slots=True)
class Event:
    """A row taken apart."""

    row: Row
    reference: str
    reservation: Held | None
    changes: tuple[Change, ...]
    sources: tuple[tuple[str, str, str, int], ...]  # sku, location, source, sequence
    request: tuple[str, str, str] | None  # record, operation, target

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, seq)."""
        return self.row.epoch, self.row.seq


@dataclass(slots=True)
class Stores:
    """Both stores after the run, at rest: everything is flushed. One shard."""

    read_ms: int = 0
    checkpoint: int = 0
    epoch: int = 1
    digest: str = GENESIS
    epoch_ends: dict[int, int] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    levels: dict[Place, Counters] = field(default_factory=dict)
    reservations: dict[str, Held] = field(default_factory=dict)
    requests: dict[str, tuple[str, str]] = field(default_factory=dict)  # record: operation, target
    hot_seq: int = 0
    hot_levels: dict[Place, Counters] = field(default_factory=dict)
    hot_reservations: dict[str, Held] = field(default_factory=dict)
    #: Per shop/sku its open holds with their deadlines, and the earliest one of the shard's own index.
    hot_holds: dict[str, dict[str, int]] = field(default_factory=dict)
    hot_due: dict[str, int] = field(default_factory=dict)


def parse_held(id: str, text: str) -> Held:
    """A packed reservation."""
    head, *rows = text.split("\n")
    fields = head.split("\t")
    lines = []
    for row in rows:
        sku, location, quantity, settled = row.split("\t")
        lines.append((sku, location, int(quantity), settled == "1"))
    return Held(
        id=id,
        state=STATES[fields[0]],
        deadline_ms=int(fields[1]),
        epoch=int(fields[2]),
        seq=int(fields[3]),
        birth=(int(fields[4]), int(fields[5])),
        created_ms=int(fields[6]),
        shop=fields[9],
        tier=fields[10],
        reference=fields[11],
        record=fields[14],
        lines=tuple(lines),
    )


def parse_event(row: Row) -> Event:
    """One row of the table; raises ValueError or KeyError for what is no event."""
    head, *facts = [line.split("\t") for line in row.payload.split("\n")]
    if head[0] != "E" or (int(head[1]), int(head[2]), head[3]) != (row.seq, row.epoch, row.type):
        raise ValueError(f"the head {head} is not that of event {row.seq}")
    texts: list[tuple[str, list[str]]] = []
    changes, sources, request = [], [], None
    for letter, *fields in facts:
        if letter == "R":
            texts.append((fields[0], ["\t".join(fields[1:])]))
        elif letter == "I":
            texts[-1][1].append("\t".join(fields))
        elif letter == "L":
            changes.append(_change(row.shop, fields))
        elif letter == "S":
            sources.append((fields[0], fields[1], fields[2], int(fields[3])))
        elif letter == "Q":
            request = (fields[0], fields[1], fields[3])
    told = [parse_held(id, "\n".join(rows)) for id, rows in texts]
    return Event(row, head[9], told[0] if told else None, tuple(changes), tuple(sources), request)


def chained(previous: str, payload: str) -> str:
    """The digest of an entry after another one."""
    return hashlib.sha1(f"{previous}{payload}".encode(), usedforsecurity=False).hexdigest()


def _change(shop: str, fields: list[str]) -> Change:
    numbers = [int(number) for number in fields[2:]]
    on_hand, held, committed, deducted, safety, version = numbers[:6]
    a, b, c, d, e = numbers[6:]
    return Change((shop, fields[0], fields[1]), (on_hand, held, committed, deducted, safety), version, (a, b, c, d, e))
