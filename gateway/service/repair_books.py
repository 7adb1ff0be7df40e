"""What is wrong with the durable books, and what they should say: the log is the truth, as far as its chain holds.

Of a level the log tells what its sources said and each difference since; what is held and sold is what the lives in the log
add up to. Of a reservation it tells the text after its last event.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.domain.repair import HumanTask, Step
from gateway.durable.books import add_up
from gateway.durable.ledger import Books, Ledger
from gateway.service.conservation_history import NOTHING, Counters, History, Place, counters
from gateway.service.conservation_lives import public_id, read_place, state_of
from gateway.service.verdict import durable_read

NAMES: Final = ("on_hand", "held", "committed", "deducted", "safety_stock")

#: Where the log itself is damaged, nothing may be corrected by it.
LOG_DAMAGE: Final = frozenset({"gap", "digest", "entry"})
RESTORE_LOG: Final = (
    "bring the rows of table `events` with these seqs back from a backup or a replica of the database, exactly as they were,"
    " and plan again: until then no level and no reservation is corrected, because nothing tells what is right"
)
#: What a script should never have written stays in the log for ever: it is history, and stock has to follow it.
JUDGE: Final = (
    "it is history and stays in the log; look up what was promised to whom (table `events`), and bring stock in line with"
    " what there is by a count of its source, or by releasing reservations"
)


@dataclass(frozen=True, slots=True)
class LevelFix:
    """A level that is not what it should be: its row (None = gone), what the log told last, and what is right."""

    place: Place
    version: int
    row: Counters | None
    told: Counters
    right: Counters

    @property
    def step(self) -> Step:
        """The fix as a step."""
        now = self.row or NOTHING
        change = "no row" if self.row is None else _words(self.row)
        if self.row != self.told:
            reason = f"the log told {_words(self.told)}"
        else:
            reason = "the level was changed beside the log, and later events carried it on"
        differences = [right - was for was, right in zip(now, self.right, strict=True)]
        mark = ",".join(map(str, differences)) + ("" if self.row else " new")
        return Step("level_corrected", "/".join(self.place), f"{change} → {_words(self.right)}", reason, mark)


@dataclass(frozen=True, slots=True)
class ReservationFix:
    """A reservation whose row is not as the log tells it: the text after its last event."""

    random_part: str
    shard: int
    was: str
    text: str

    @property
    def step(self) -> Step:
        """The fix as a step."""
        where = public_id(self.shard, self.random_part, self.text)
        state = state_of(self.text)
        reason = "the log is the truth about a reservation, and its row says something else"
        return Step("reservation_restored", where, f"{self.was} → {state}", reason, state)


@dataclass(slots=True)
class Fixes:
    """All that is to be corrected in the durable store."""

    reservations: list[ReservationFix]
    levels: list[LevelFix]

    @property
    def steps(self) -> list[Step]:
        """In the order in which they are done."""
        return [one.step for one in self.reservations] + [one.step for one in self.levels]


async def find_fixes(
    ledger: Ledger, books: Books, history: History, wrong: Iterable[str]
) -> tuple[Fixes, list[HumanTask]]:
    """What of these books is to be corrected, and what no event explains. `wrong`: reservations to look at."""
    tasks: list[HumanTask] = []
    reservations = await _reservations(ledger, books.shard.shard, history, sorted(wrong), tasks)
    return Fixes(reservations, _levels(books, history, tasks)), tasks


def log_tasks(violations: Iterable[dict[str, object]]) -> list[HumanTask]:
    """What is wrong with the log itself, and what it tells that should never have happened."""
    found = []
    for one in violations:
        kind, where, detail = (str(one[name]) for name in ("kind", "where", "detail"))
        if kind in LOG_DAMAGE:
            found.append(HumanTask(kind, where, detail, RESTORE_LOG))
        elif kind in {"oversold", "birth", "move", "units", "position"}:
            found.append(HumanTask(kind, where, detail, JUDGE))
    return found


async def _reservations(
    ledger: Ledger, shard: int, history: History, wrong: list[str], tasks: list[HumanTask]
) -> list[ReservationFix]:
    stored = await durable_read(ledger.stored_among(wrong)) if wrong else {}
    fixes = []
    for random_part in wrong:
        row = stored.get(random_part)
        readable = row.packed if row is not None and read_place(row.packed) is not None else ""
        text = history.lives.open.get(random_part)
        if text is None and readable:
            text = await history.last_told(random_part, readable)
        if text is None:
            advice = f"find out where the row came from, and delete it: the one with id {random_part} in table `reservations`"
            tasks.append(HumanTask("row", random_part, "the log tells nothing of this reservation", advice))
        elif row is None:
            fixes.append(ReservationFix(random_part, shard, "no row", text))
        elif (row.packed, row.state) != (text, state_of(text)):
            fixes.append(ReservationFix(random_part, shard, row.state, text))
    return fixes


def _levels(books: Books, history: History, tasks: list[HumanTask]) -> list[LevelFix]:
    held: dict[Place, int] = {}
    committed: dict[Place, int] = {}
    add_up(((part, state_of(text), text) for part, text in history.lives.open.items()), held, committed)
    fixes = []
    for place in sorted(books.levels.keys() | history.told.keys()):
        if place not in history.told:
            shop, sku, location = place
            advice = (
                f"delete the row of {shop}/{sku}/{location} in table `levels`, or restore the database it belongs to"
            )
            tasks.append(HumanTask("level", "/".join(place), "no event of the log tells of this level", advice))
            continue
        on_hand, _, _, deducted, safety = history.sound[place]
        right = (on_hand, held.get(place, 0), committed.get(place, 0), deducted, safety)
        row = counters(books.levels[place]) if place in books.levels else None
        if (row, history.told[place]) != (right, right):
            fixes.append(LevelFix(place, history.versions[place], row, history.told[place], right))
    return fixes


def _words(level: Counters) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(NAMES, level, strict=True))
