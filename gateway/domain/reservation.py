"""Reservations: who asked for what, how far it got, and until when it stands.

The text form here is that of lua/README.md; scripts and Python read and write the same text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from gateway.domain.identifier import Position, ReservationId

State = Literal["held", "confirmed", "fulfilled", "released", "expired"]

HELD: Final = "held"
CONFIRMED: Final = "confirmed"
FULFILLED: Final = "fulfilled"
RELEASED: Final = "released"
EXPIRED: Final = "expired"

STATE_OF_LETTER: Final[dict[str, State]] = {
    "h": HELD,
    "c": CONFIRMED,
    "f": FULFILLED,
    "r": RELEASED,
    "e": EXPIRED,
}
LETTER_OF_STATE: Final[dict[State, str]] = {state: letter for letter, state in STATE_OF_LETTER.items()}

#: The moves a reservation may make. `expired` is left by an explicit reacquire only.
LEGAL_MOVES: Final[dict[State, frozenset[State]]] = {
    HELD: frozenset({CONFIRMED, RELEASED, EXPIRED}),
    CONFIRMED: frozenset({FULFILLED, RELEASED}),
    FULFILLED: frozenset(),
    RELEASED: frozenset(),
    EXPIRED: frozenset({CONFIRMED}),
}


@dataclass(slots=True)
class Line:
    """Units of one sku at one location; `settled` once a count or a fulfilment has taken them out of `committed`."""

    sku: str
    location: str
    quantity: int
    settled: bool = False


@dataclass(slots=True)
class Reservation:
    """One reservation after the change at (epoch, seq). Instants are milliseconds by Redis' clock."""

    id: ReservationId
    state: State
    deadline_ms: int
    epoch: int
    seq: int
    created_ms: int
    confirmed_ms: int | None
    ended_ms: int | None
    shop: str
    tier: str
    reference: str
    customer: str
    channel: str
    request: str
    lines: list[Line]

    @property
    def public_id(self) -> str:
        """The public id as text."""
        return str(self.id)

    @property
    def position(self) -> Position:
        """Where the reservation's last change stands."""
        return Position(self.id.shard, self.epoch, self.seq)

    def pack(self) -> str:
        """The reservation as scripts keep it: one line of fields, then a line per line."""
        fields = [
            LETTER_OF_STATE[self.state],
            str(self.deadline_ms),
            str(self.epoch),
            str(self.seq),
            str(self.id.epoch),
            str(self.id.seq),
            str(self.created_ms),
            "" if self.confirmed_ms is None else str(self.confirmed_ms),
            "" if self.ended_ms is None else str(self.ended_ms),
            self.shop,
            self.tier,
            self.reference,
            self.customer,
            self.channel,
            self.request,
        ]
        rows = ["\t".join(fields)]
        rows += [f"{line.sku}\t{line.location}\t{line.quantity}\t{int(line.settled)}" for line in self.lines]
        return "\n".join(rows)


def parse_reservation(shard: int, random_part: str, text: str) -> Reservation:
    """The reservation a script, the log or the durable store tells as text."""
    rows = text.split("\n")
    (
        letter,
        deadline,
        epoch,
        seq,
        created_epoch,
        created_seq,
        created,
        confirmed,
        ended,
        shop,
        tier,
        reference,
        customer,
        channel,
        request,
    ) = rows[0].split("\t")
    lines = []
    for i in range(1, len(rows)):
        sku, location, quantity, settled = rows[i].split("\t")
        lines.append(Line(sku, location, int(quantity), settled == "1"))
    return Reservation(
        ReservationId(shard, int(created_epoch), int(created_seq), random_part),
        STATE_OF_LETTER[letter],
        int(deadline),
        int(epoch),
        int(seq),
        int(created),
        int(confirmed) if confirmed else None,
        int(ended) if ended else None,
        shop,
        tier,
        reference,
        customer,
        channel,
        request,
        lines,
    )
