"""The conservation check: nothing may be lost or made between Redis, the durable levels, the reservations and the log.

It works online: the durable levels are read in one snapshot, what Redis tells is compared at the very seq it was read at, a row
at the seq it carries, and what looks wrong only because it moved is looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.domain.answer import Conservation
from gateway.domain.errors import ShardHalted, ShardRecovering
from gateway.domain.halt import halted_with_advice
from gateway.durable.ledger import Books, Ledger
from gateway.flush.watermark import Watermark
from gateway.hot.shard import Shard
from gateway.service.conservation_findings import Findings
from gateway.service.conservation_history import History
from gateway.service.conservation_holds import Holds
from gateway.service.conservation_levels import Levels
from gateway.service.conservation_rows import OnHeld, Rows
from gateway.service.conservation_tail import Tail
from gateway.service.conservation_totals import check_durable_totals, check_hot_totals
from gateway.service.verdict import durable_read


class Audit:
    """One run of the check over both stores.

    Cost: the whole log and every reservation's row are read once, page by page, and every key of the shard in Redis; 15 µs of this
    process per event beside the stores' own time (Python 3.11). In memory are all levels and the open reservations, some 300
    bytes each. Requests are let through every hundred events.
    """

    def __init__(self, shard: Shard, ledger: Ledger, watermark: Watermark) -> None:
        self._shard = shard
        self._ledger = ledger
        self._tail = Tail(shard, watermark)

    async def run(self) -> Conservation:
        """What was looked at, and every violation found, at most 1000.

        Raises:
            DurableStoreUnavailable: it does not answer, or the flusher is behind: check again.
            ShardRecovering: the shard was opened anew meanwhile, or is closed: check again.
            ShardHalted: it waits for its operator, whose plan of a repair tells what is wrong.
        """
        # Nothing is flushed on a halted shard, so what Redis has ahead would be waited for in vain, and called a slow flusher.
        if self._shard.halted_reason:
            raise ShardHalted(halted_with_advice(self._shard.halted_reason))
        return (await self.survey()).findings.answer()

    async def survey(self) -> Survey:
        """As `run`, with what was found on the way."""
        shard, findings, epoch = self._shard, Findings(), self._shard.epoch
        holds = Holds(shard, self._ledger, self._tail, findings)
        found = await survey_durable(self._ledger, shard.number, findings, holds.check_kept)
        await Levels(shard, self._ledger, self._tail, found.books, findings).check()
        await check_hot_totals(shard, self._ledger, self._tail, found.books, findings)
        await holds.check_hot(found.wrong)
        if shard.epoch != epoch:
            raise ShardRecovering("the shard was opened anew during the check; check again")
        return found


@dataclass(slots=True)
class Survey:
    """What one check has read and found. `wrong` are the random parts of reservations whose rows are not as the log tells them."""

    books: Books
    history: History
    wrong: set[str]
    findings: Findings


async def audit_durable(ledger: Ledger, shard: int) -> tuple[Conservation, int]:
    """What can be told without Redis, and the seq it was told at: the log, the levels and the rows of the durable store.

    Only reads. What Redis has not handed over yet is no violation.
    """
    found = await survey_durable(ledger, shard, Findings(), None)
    return found.findings.answer(), found.books.shard.checkpoint


async def survey_durable(ledger: Ledger, shard: int, findings: Findings, on_held: OnHeld | None) -> Survey:
    """The durable store was looked through, and every violation told; `on_held` has seen each hold that is right."""
    books = await durable_read(ledger.read_books(shard))
    _check_sums(books, findings)
    check_durable_totals(books, findings)
    history = History(ledger, shard, findings)
    await history.replay(books.shard)
    history.check_levels(books.levels)
    living = dict(history.lives.open)
    rows = Rows(ledger, shard, books.shard.checkpoint, history.lives, findings)
    await rows.check(on_held)
    history.lives.open = living
    return Survey(books, history, rows.wrong, findings)


def _check_sums(books: Books, findings: Findings) -> None:
    """Invariant 1: held and committed are the sums over the open reservations."""
    for place in books.levels.keys() | books.held.keys() | books.committed.keys():
        level = books.levels.get(place)
        findings.checked["levels"] += 1
        for name, sums in (("held", books.held), ("committed", books.committed)):
            counted, summed = getattr(level, name) if level else 0, sums.get(place, 0)
            if counted != summed:
                findings.tell(1, name, "/".join(place), f"the level counts {counted}, its reservations {summed}")
