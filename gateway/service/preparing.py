"""What can be done before a commit is seen is done while it is under way: there is little else to do then, and much right behind it."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

#: By then the flusher has mostly sent what it waits for: the log is read and made into rows in about this time.
PREPARE_AFTER_S: Final = 0.001
#: So many prepare in one piece; then others have their turn.
PREPARED_BETWEEN_YIELDS: Final = 100


class Preparable(Protocol):
    """Somebody with something to prepare."""

    def prepare(self) -> None:
        """It is prepared, or it is too late. May be left out."""
        ...


class Preparing:
    """Lets everybody prepare a moment after the first of them has come."""

    def __init__(self) -> None:
        """Nobody has come."""
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Preparable] = []

    def add(self, one: Preparable) -> None:
        """It prepares in a moment."""
        self._waiting.append(one)
        if len(self._waiting) == 1:
            self._loop.call_later(PREPARE_AFTER_S, self._prepare)

    def _prepare(self) -> None:
        waiting = self._waiting
        now, self._waiting = waiting[:PREPARED_BETWEEN_YIELDS], waiting[PREPARED_BETWEEN_YIELDS:]
        if self._waiting:
            self._loop.call_soon(self._prepare)
        for one in now:
            one.prepare()
