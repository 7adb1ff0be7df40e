"""The lives of reservations as the log tells them, event by event: invariant 8.

A life begins with one reserve, makes only legal moves, ends once, and gives back exactly what it took. `expired` is left by
a reacquire alone, which is an event that says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from gateway.domain.event import CONFIRMED as SALE
from gateway.domain.event import EXPIRED as EXPIRY
from gateway.domain.event import EXTENDED, REPAIRED, RESERVED, SHIPPED, Event
from gateway.domain.event import RELEASED as RETURN
from gateway.domain.reservation import (
    CONFIRMED,
    EXPIRED,
    FULFILLED,
    HELD,
    LEGAL_MOVES,
    RELEASED,
    STATE_OF_LETTER,
    State,
)
from gateway.service.conservation_findings import Findings

OPEN: Final = frozenset({HELD, CONFIRMED})

#: The reason in the event of a confirm that took the units of an expired hold again, and of a count that reflects a sale.
REACQUIRED: Final = "reacquired"
REFLECTED: Final = "reflected"

#: The states that an event of each type may leave a reservation in.
LEADS_TO: Final[dict[str, frozenset[str]]] = {
    RESERVED: frozenset({HELD}),
    EXTENDED: frozenset({HELD}),
    SALE: frozenset({CONFIRMED}),
    RETURN: frozenset({RELEASED}),
    EXPIRY: frozenset({EXPIRED}),
    SHIPPED: frozenset({CONFIRMED, FULFILLED}),
    REPAIRED: frozenset({HELD, CONFIRMED, FULFILLED, RELEASED, EXPIRED}),
}

#: What a move does with each unit of a line that is not settled: on_hand, held, committed.
UNITS: Final[dict[tuple[State | None, State], tuple[int, int, int]]] = {
    (None, HELD): (0, 1, 0),
    (HELD, CONFIRMED): (0, -1, 1),
    (HELD, RELEASED): (0, -1, 0),
    (HELD, EXPIRED): (0, -1, 0),
    (CONFIRMED, RELEASED): (0, 0, -1),
    (CONFIRMED, FULFILLED): (-1, 0, -1),
    (EXPIRED, CONFIRMED): (0, 0, 1),
}

#: What separates the fields of a packed text's first row.
TABS: Final = 14

#: (sku, location) -> the differences of on_hand, held, committed, deducted and safety_stock.
Moved = dict[tuple[str, str], tuple[int, ...]]


class Told(NamedTuple):
    """What an event says of a reservation: its random part and its packed text after the event."""

    random_part: str
    text: str


#: The text that the log told of (random part, text after it) last before this seq; None when it had told nothing.
Former = Callable[[Told, int], Awaitable[str | None]]


class Lives:
    """Every life so far. Keeps the text of each open reservation, and of an ended one nothing unless it was reacquired.

    That is some 300 bytes per reservation that is held or confirmed; what ended and goes on is looked up in the log.
    """

    def __init__(self, shard: int, findings: Findings, former: Former) -> None:
        self._shard = shard
        self._findings = findings
        self._former = former
        #: The packed text of each open reservation.
        self.open: dict[str, str] = {}
        #: The text of those that ended since the caller last took them.
        self.ended: dict[str, str] = {}
        #: Those of which the log told something after their end: random part -> seq.
        self.continued: dict[str, int] = {}

    async def follow(self, event: Event, told: Told) -> None:
        """The life goes on by this event, which told this; what is wrong with it is told. Raises ValueError, KeyError: not a text."""
        before = self.open.pop(told.random_part, None)
        if before is None and event.type != RESERVED:
            before = await self._former(told, event.seq)
            if before is not None:
                self.continued[told.random_part] = event.seq
        problem = _problem(event, before, told.text)
        if problem is not None:
            kind, detail = problem
            self._findings.tell(8, kind, public_id(self._shard, *told), f"event {event.seq} {detail}")
        if state_of(told.text) in OPEN:
            self.open[told.random_part] = told.text
        else:
            self.ended[told.random_part] = told.text


def told_by(event: Event) -> Told | None:
    """What the event says of a reservation, None when it is of none."""
    random_part, rows = "", [""]
    for line in event.lines:
        if line.startswith("R\t"):
            _, random_part, rows[0] = line.split("\t", 2)
        elif line.startswith("I\t"):
            rows.append(line[2:])
    return Told(random_part, "\n".join(rows)) if random_part else None


def public_id(shard: int, random_part: str, text: str) -> str:
    """The id that callers know the reservation by."""
    _, _, _, _, epoch, seq, _ = text.split("\t", 6)
    return f"rsv_{shard}-{epoch}-{seq}-{random_part}"


def read_place(text: str) -> tuple[State, int] | None:
    """The state and the seq of a packed text that anybody may have damaged; None where it is none."""
    if text.partition("\n")[0].count("\t") != TABS:
        return None
    try:
        return state_of(text), seq_of(text)
    except (ValueError, KeyError, IndexError):
        return None


def state_of(text: str) -> State:
    """The state that a packed text tells."""
    return STATE_OF_LETTER[text[0]]


def seq_of(text: str) -> int:
    """The seq of the last change that a packed text tells."""
    return int(text.split("\t", 4)[3])


def _problem(event: Event, before: str | None, after: str) -> tuple[str, str] | None:
    """The kind of law that the event breaks, and how; None when it breaks none."""
    was, now = None if before is None else state_of(before), state_of(after)
    if (was is None) != (event.type == RESERVED):
        return "birth", f"is {event.type}, and " + (
            "the life had not begun" if was is None else f"it was {was} already"
        )
    is_reflected = event.type == SHIPPED and event.reason == REFLECTED
    if was is not None and not _is_legal(event, was, now, is_reflected):
        return "move", f"({event.type}) leads from {was} to {now}"
    if now not in LEADS_TO.get(event.type, ()):
        return "move", f"({event.type}) leads to {now}"
    if seq_of(after) != event.seq:
        return "position", f"tells a change of seq {seq_of(after)}"
    expected, moved = _expected(before, after, is_reflected=is_reflected), _moved(event)
    if expected is None:
        return "units", "changes the lines"
    if expected != moved:
        return "units", f"moves {_words(moved)}, its lines {_words(expected)}"
    return None


def _is_legal(event: Event, was: State, now: State, is_reflected: bool) -> bool:
    if event.type == REPAIRED:
        return was == now
    if was == now:
        return (event.type == EXTENDED and now == HELD) or (is_reflected and now == CONFIRMED)
    if was == EXPIRED and event.reason != REACQUIRED:
        return False
    return now in LEGAL_MOVES[was]


def _lines(text: str) -> dict[tuple[str, str], tuple[int, bool]]:
    """(sku, location) -> quantity, and whether it is settled."""
    rows = [row.split("\t") for row in text.split("\n")[1:]]
    return {(sku, location): (int(quantity), settled == "1") for sku, location, quantity, settled in rows}


def _expected(before: str | None, after: str, *, is_reflected: bool) -> Moved | None:
    """What the move does to the levels; None when lines changed that it may not change."""
    lines = _lines(after)
    was = None if before is None else state_of(before)
    former = {place: (units, False) for place, (units, _) in lines.items()} if before is None else _lines(before)
    if former.keys() != lines.keys():
        return None
    if was == state_of(after) and not is_reflected:
        unit = (0, 0, 0)
    else:
        unit = (0, 0, -1) if is_reflected else UNITS[was, state_of(after)]
    moved: Moved = {}
    for place, (quantity, is_settled) in lines.items():
        had, was_settled = former[place]
        if quantity != had or (is_settled != was_settled and not (is_reflected and is_settled)):
            return None
        if was_settled or (is_reflected and not is_settled) or not any(unit):
            continue
        moved[place] = (*(quantity * one for one in unit), 0, 0)
    return moved


def _moved(event: Event) -> Moved:
    """What the event's levels say was moved."""
    moved: Moved = {}
    for fact in event.facts:
        if fact[0] == "L":
            place, deltas = (fact[1], fact[2]), [int(delta) for delta in fact[9:14]]
            moved[place] = tuple(one + more for one, more in zip(moved.get(place, (0,) * 5), deltas, strict=True))
    return {place: deltas for place, deltas in moved.items() if any(deltas)}


def _words(moved: Moved) -> str:
    names = ("on_hand", "held", "committed", "deducted", "safety_stock")
    told = [
        f"{sku}/{location} "
        + ", ".join(f"{name} {delta:+d}" for name, delta in zip(names, deltas, strict=True) if delta)
        for (sku, location), deltas in sorted(moved.items())
    ]
    return "; ".join(told) or "nothing"
