"""The end of a run: wait until no hold is left, read everything back, and hold it against the independent
count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.cli.answer import AnswerUnreadable
from gateway.cli.play.crowd import crowd
from gateway.cli.play.holds import Holds
from gateway.cli.play.invoice import EARLY_SECONDS, clock
from gateway.cli.play.level import LevelRead, StockRead, read_levels
from gateway.cli.play.plan import Plan
from gateway.cli.play.tally import Tally
from gateway.cli.remote import Remote, segment

POLL_SECONDS = 0.2
#: Reservations of one page of a search: the most that the gateway gives.
PAGE = "1000"
PAGES_MAX = 100_000
COUNTERS = ("on_hand", "held", "committed", "available")
#: The location that stands for a sku's own totals.
ALL = "(all)"


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that is not what the answers add up to. `found` is None where the level is missing."""

    sku: str
    location: str
    counter: str
    expected: int
    found: int | None


@dataclass(slots=True)
class Verdict:
    """What was found. `late_seconds`: how long after the last deadline units were still seen held (0.0: not
    at all).
    """

    levels: int = 0
    reservations: int = 0
    late_seconds: float = 0.0
    lost_holds: int = 0
    differences: list[Difference] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


class Inquest:
    """The questions asked in the end, each of which adds to the verdict."""

    def __init__(self, remote: Remote, plan: Plan, tally: Tally, holds: Holds) -> None:
        self.verdict = Verdict()
        self._remote = remote
        self._plan = plan
        self._tally = tally
        self._holds = holds

    async def run(self) -> Verdict:
        """All questions were asked.

        Raises:
            RemoteFailed: the gateway could not be asked; there is no verdict.
        """
        returned_at = await self._await_returned()
        await self._compare_levels()
        self._judge_oversell()
        await self._read_reservations(returned_at)
        await self._search_held()
        return self.verdict

    async def _await_returned(self) -> float:
        """The moment at which nothing was seen held any more; held units after a generous while show as
        differences.
        """
        waiting = set(self._holds.open_skus)
        # A resumed run does not know when the holds before it fall due, only how long they live at most.
        latest = self._holds.deadline_latest or clock() + self._plan.ttl_seconds
        while True:
            read = await read_levels(self._remote, waiting)
            waiting = {sku for (sku, _), level in read.levels.items() if level.held}
            now = clock()
            if not waiting:
                break
            if self._holds.deadline_latest:
                self.verdict.late_seconds = round(max(0.0, now - self._holds.deadline_latest), 3)
            if now > latest + self._plan.settle_seconds_max:
                late = f"{self.verdict.late_seconds:g} s after the last deadline"
                self.verdict.violations.append(f"{len(waiting)} skus still have units held {late}")
                break
            await asyncio.sleep(POLL_SECONDS)
        return now

    async def _compare_levels(self) -> None:
        expected = self._tally.expected()
        read = await read_levels(self._remote, {sku for sku, _ in expected})
        self.verdict.levels = len(expected)
        missing = LevelRead(0, 0, 0, 0)
        for key in sorted({*expected, *read.levels}):
            self._compare(*key, expected.get(key, missing), read.levels.get(key))
        for sku, total in self._totals(expected):
            self._compare(sku, ALL, total, read.totals.get(sku))
        self.verdict.violations += self._inconsistent(read)

    def _compare(self, sku: str, location: str, expected: LevelRead, found: LevelRead | None) -> None:
        for counter in COUNTERS:
            wanted = getattr(expected, counter)
            got = None if found is None else getattr(found, counter)
            if got != wanted:
                self.verdict.differences.append(Difference(sku, location, counter, wanted, got))

    @staticmethod
    def _totals(levels: dict[tuple[str, str], LevelRead]) -> Iterator[tuple[str, LevelRead]]:
        grouped: dict[str, list[LevelRead]] = {}
        for (sku, _), level in sorted(levels.items()):
            grouped.setdefault(sku, []).append(level)
        for sku, own in grouped.items():
            yield sku, LevelRead(*(sum(getattr(level, counter) for level in own) for counter in COUNTERS))

    @staticmethod
    def _inconsistent(read: StockRead) -> list[str]:
        """Levels whose available is not what their own counters say."""
        return [
            f"{sku}/{location} shows available {level.available}, its own counters say otherwise: {level}"
            for (sku, location), level in sorted(read.levels.items())
            if level.available != level.on_hand - level.held - level.committed - level.reserved_aside
        ]

    def _judge_oversell(self) -> None:
        for sku, (sold, there) in self._tally.oversold().items():
            self.verdict.violations.append(f"{sku} oversold: {sold} units sold of {there} there ever were")

    async def _read_reservations(self, returned_at: float) -> None:
        """Each reservation reads the state in which its invoice ended, and none ended before its time."""
        waiting = iter(self._holds.finals.items())

        async def reader() -> None:
            for identifier, final in waiting:
                await self._read_reservation(identifier, final, returned_at)

        await crowd(min(self._plan.concurrency, len(self._holds.finals)), reader)
        self.verdict.reservations = len(self._holds.finals)

    async def _read_reservation(self, identifier: str, final: str, returned_at: float) -> None:
        answer = await self._remote.get(f"/v1/reservations/{segment(identifier)}")
        state = answer.body.get("state") if answer.is_success else answer.code
        if state == "reservation_lost" and final == "expired":
            # It was answered from memory and is told as lost: its units are back all the same.
            self.verdict.lost_holds += 1
        elif state != final:
            invoice = self._holds.invoices[identifier]
            self.verdict.violations.append(f"invoice {invoice}: {identifier} reads {state}, and must read {final}")
        elif identifier == self._holds.last_open and returned_at < self._holds.deadline_earliest - EARLY_SECONDS:
            self.verdict.violations.append(f"{identifier} expired before its time was over")

    async def _search_held(self) -> None:
        """No reservation of the run is found as held; the search reads the durable store, which may lag a
        little.
        """
        end = clock() + self._plan.settle_seconds_max
        while held := await self._held():
            if clock() > end:
                shown = ", ".join(self._holds.invoices[identifier] for identifier in held[:5])
                self.verdict.violations.append(f"{len(held)} reservations are still found as held: invoices {shown}")
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _held(self) -> list[str]:
        found: list[str] = []
        cursor: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            answer = await self._remote.get("/v1/reservations", state="held", limit=PAGE, **cursor)
            body = answer.required("searching for reservations that are held")
            found += [str(each.get("id")) for each in body.get("reservations", [])]
            following = body.get("next_cursor")
            if not following:
                break
            cursor = {"cursor": str(following)}
        else:
            raise AnswerUnreadable(f"the search for held reservations has more than {PAGES_MAX:,} pages")
        return [identifier for identifier in found if identifier in self._holds.invoices]
