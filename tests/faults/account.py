"""The log of a run, taken apart once and found again by reservation, level, position and reference."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from tests.faults.stores import Change, Event, Held, Place, Stores, parse_event


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that does not hold, where, and what was found."""

    law: str
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.law} {self.where}: {self.detail}"


class Account:
    """The events in the order of the table. `unreadable` are rows that are no events."""

    def __init__(self, stores: Stores, shop: str) -> None:
        """`shop` is the one whose clients wrote the history."""
        self.stores = stores
        self.shop = shop
        self.events: list[Event] = []
        self.unreadable: list[Violation] = []
        self.at: dict[tuple[int, int], Event] = {}
        self.of_reservation: dict[str, list[tuple[Event, Held]]] = defaultdict(list)
        self.of_place: dict[Place, list[tuple[Event, Change]]] = defaultdict(list)
        self.of_reference: dict[str, list[Event]] = defaultdict(list)
        self.of_record: dict[str, list[Event]] = defaultdict(list)
        self.of_sequence: dict[tuple[str, str, str, str, int], list[Event]] = defaultdict(list)
        for row in stores.rows:
            try:
                event = parse_event(row)
            except (ValueError, KeyError, IndexError) as problem:
                self.unreadable.append(Violation("K7", f"event {row.seq}", f"is no event of ours: {problem}"))
                continue
            self._take(event)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self.at.setdefault(event.position, event)
        shop = event.row.shop
        if event.reservation is not None:
            self.of_reservation[event.reservation.id].append((event, event.reservation))
            if event.row.type == "stock.reserved" and event.reservation.reference:
                self.of_reference[event.reservation.reference].append(event)
        elif event.reference:
            self.of_reference[event.reference].append(event)
        for change in event.changes:
            self.of_place[change.place].append((event, change))
        if event.request is not None:
            self.of_record[event.request[0]].append(event)
        for sku, location, source, sequence in event.sources:
            self.of_sequence[shop, sku, location, source, sequence].append(event)

    def newest(self, id: str) -> Held | None:
        """The reservation as the log leaves it."""
        told = self.of_reservation.get(id)
        return told[-1][1] if told else None


def available(change: Change) -> int:
    """What the level had left after the event."""
    on_hand, *taken = change.after
    return on_hand - sum(taken)


def is_take(change: Change) -> bool:
    """Whether the event promised units that were free: a new hold, or a sale of a hold that had ended."""
    _, held, committed, _, _ = change.moved
    return held > 0 or (committed > 0 and held == 0)
