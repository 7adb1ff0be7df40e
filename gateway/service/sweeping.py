"""The sweep: holds nobody asks about go back to stock within a moment of their deadline."""

from __future__ import annotations

from gateway import metrics
from gateway.domain.errors import Overloaded
from gateway.service.books import Books


class Sweeper:
    """Expires what is due of one shard.

    Whoever needs the units first takes them back sooner, in the script that needs them.
    """

    def __init__(self, books: Books, holds_max: int) -> None:
        self._books = books
        self._holds_max = holds_max

    async def step(self) -> int:
        """Up to `holds_max` holds that are due went back to stock; returns how many."""
        books = self._books
        if not books.shard.is_open:
            return 0
        answer = await books.run("expire", (), (str(self._holds_max),))
        if answer.status != "SWEPT":
            raise Overloaded(f"the sweep was answered {answer.status}")
        holds, lateness_ms = int(answer.fields[0]), int(answer.fields[1])
        if holds:
            metrics.EXPIRY_SWEPT.inc(holds)
            metrics.EXPIRY_LATENESS_SECONDS.observe(lateness_ms / 1000)
            await books.settle(books.shard.epoch, books.watermark.seq + 1, "memory")
        return holds
