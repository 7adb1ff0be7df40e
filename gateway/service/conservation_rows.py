"""The rows of reservations beside the log: each says what the last event of its life says. Invariant 8.

Nothing is stopped for it. A row carries the seq of its own change, so one that went on since the log was replayed is compared
with the event it names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.domain.event import parse_events
from gateway.domain.reservation import HELD
from gateway.durable.ledger import EventRow, Ledger, StoredReservation
from gateway.service.conservation_findings import VIOLATIONS_MAX, Findings
from gateway.service.conservation_lives import OPEN, Lives, public_id, read_place, told_by
from gateway.service.verdict import durable_read

ROWS_PAGE = 500

#: What is done with the holds of a page that are stored as the log tells them.
OnHeld = Callable[[list[StoredReservation]], Awaitable[None]]


class Rows:
    """The rows of one shard, page by page. `lives` is used up: what is left open at the end has no row."""

    def __init__(self, ledger: Ledger, shard: int, checkpoint: int, lives: Lives, findings: Findings) -> None:
        self._ledger = ledger
        self._shard = shard
        self._checkpoint = checkpoint
        self._lives = lives
        self._findings = findings
        #: Reservations already told of: what else differs from their rows is no news.
        self.wrong: set[str] = set()

    async def check(self, on_held: OnHeld | None = None) -> None:
        """Every row was compared. Cost: one read of the table, and of the last event of each ended reservation."""
        after = ""
        while page := await durable_read(self._ledger.stored_page(self._shard, after, ROWS_PAGE)):
            sound = await self._check_page(page)
            if on_held is not None:
                await on_held([row for row in sound if row.state == HELD])
            after = page[-1].random_part
            await asyncio.sleep(0)
        for random_part, text in self._lives.open.items():
            self._tell(random_part, text, "the log has it open, and it has no row")

    async def _check_page(self, page: list[StoredReservation]) -> list[StoredReservation]:
        """The rows that are as the log tells them."""
        sound, elsewhere = [], []
        for row in page:
            self._findings.checked["reservations"] += 1
            known = self._lives.open.pop(row.random_part, None)
            place = read_place(row.packed)
            if place != (row.state, row.seq):
                self._tell(
                    row.random_part, known or row.packed, f"its columns say {row.state} at {row.seq}, its text {place}"
                )
            elif known == row.packed:
                sound.append(row)
            elif row.seq > self._checkpoint or (known is None and row.state not in OPEN):
                elsewhere.append(row)
            else:
                told = "no life that is open" if known is None else f"{read_place(known)}"
                self._tell(row.random_part, row.packed, f"its row says {place}, the log {told}")
        return sound + await self._explained(elsewhere)

    async def _explained(self, rows: list[StoredReservation]) -> list[StoredReservation]:
        """Those that are what the event at their own seq tells, and of which the log tells nothing later."""
        if not rows:
            return []
        stored = await durable_read(self._ledger.events_at(self._shard, [row.seq for row in rows]))
        events = {event.seq: event for event in stored}
        sound = []
        for row in rows:
            later = self._lives.continued.get(row.random_part, 0)
            if _text(events.get(row.seq), row.random_part) != row.packed:
                self._tell(row.random_part, row.packed, f"no event says what its row says at seq {row.seq}")
            elif later > row.seq:
                self._tell(
                    row.random_part, row.packed, f"its row says what event {row.seq} said, and event {later} came after"
                )
            else:
                sound.append(row)
        return sound

    def _tell(self, random_part: str, text: str, detail: str) -> None:
        if len(self.wrong) < VIOLATIONS_MAX:
            self.wrong.add(random_part)
        where = random_part if read_place(text) is None else public_id(self._shard, random_part, text)
        self._findings.tell(8, "row", where, detail)


def _text(event: EventRow | None, random_part: str) -> str | None:
    """What the event tells of this reservation, None when it tells nothing of it."""
    if event is None:
        return None
    try:
        (parsed,) = parse_events(event.payload)
        told = told_by(parsed)
    except ValueError:
        return None  # told as such by the replay
    return told.text if told is not None and told.random_part == random_part else None
