"""The sweep: holds nobody asks about go back to stock within a moment of their deadline."""

from __future__ import annotations

import structlog

from gateway import metrics
from gateway.domain.errors import Corrupt, Overloaded
from gateway.hot.shard import Answer
from gateway.service.books import Absent, Books

log = structlog.get_logger(__name__)

LOST_MAX = 1000  # due holds that are in neither store and are passed over in one turn; more are damage for a human


class Sweeper:
    """Expires what is due of one shard.

    Whoever needs the units first takes them back sooner, in the script that needs them.
    """

    def __init__(self, books: Books, holds_max: int) -> None:
        self._books = books
        self._holds_max = holds_max
        self._told: set[str] = set()  # random parts of lost holds that were told

    async def step(self) -> int:
        """Up to `holds_max` holds that are due went back to stock; returns how many."""
        books = self._books
        if not books.shard.is_open:
            return 0
        answer = await self._expire()
        if answer.status != "SWEPT":
            raise Overloaded(f"the sweep was answered {answer.status}")
        holds, lateness_ms = int(answer.fields[0]), int(answer.fields[1])
        if holds:
            metrics.EXPIRY_SWEPT.inc(holds)
            metrics.EXPIRY_LATENESS_SECONDS.observe(lateness_ms / 1000)
            await books.settle(books.shard.epoch, books.watermark.seq + 1, "memory")
        return holds

    async def _expire(self) -> Answer:
        """The script's answer; what it misses and neither store has is told once, and passed over.

        The entries of such a hold stay: how many units it had is not known, so its skus are for a human to mend. Each turn
        looks for it anew, because a hold that only the log has is found once it is committed.
        """
        lost: set[str] = set()
        while True:
            try:
                answer = await self._books.run("expire", (), (str(self._holds_max), *sorted(lost)))
            except Absent as absent:
                found = {name.removeprefix("r:") for name in absent.names if name.startswith("r:")} - lost
                lost |= found
                if not found or len(lost) > LOST_MAX:
                    raise Corrupt(f"{len(lost)} due holds are in neither store") from absent
            else:
                if lost - self._told:
                    metrics.JOB_ERRORS["sweeper"].inc()
                    log.error("hold_lost", reservations=sorted(lost - self._told))
                self._told = lost
                return answer
