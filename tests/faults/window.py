"""A stretch of a run, and what clients were told in it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.faults.history import Call, History
from tests.faults.traffic import ANSWER_SECONDS_MAX

#: Longer than the longest that a client is told to wait, and the answer behind it.
SEEN_SECONDS_MAX: Final = 15.0
#: Clients with patience hang up after `ANSWER_SECONDS_MAX`; the others within a blink.
PATIENT_SECONDS: Final = ANSWER_SECONDS_MAX - 0.5


class Window:
    """From now on until `close`: the calls that began and ended in it. A batch is left out where single calls are asked for."""

    def __init__(self, history: History) -> None:
        """It begins."""
        self._history = history
        self.begin_s, self.begin_ms = time.monotonic(), time.time_ns() // 1_000_000
        self.end_s, self.end_ms = float("inf"), 0

    async def until(self, is_seen: Callable[[], object]) -> None:
        """That was seen in it: clients who were told to wait come back in their own time."""
        end_s = time.monotonic() + SEEN_SECONDS_MAX
        while not is_seen():
            assert time.monotonic() < end_s, f"nobody saw it; what was told: {dict(self.told())}"
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """It ends."""
        self.end_s, self.end_ms = time.monotonic(), time.time_ns() // 1_000_000

    def calls(self, *operations: str) -> list[Call]:
        """The single calls of these operations, or of all."""
        return [
            call
            for call in self._history.calls
            if call.start_s >= self.begin_s
            and call.end_s <= self.end_s
            and call.batch is None
            and (not operations or call.operation in operations)
        ]

    def done(self, *operations: str) -> int:
        """How many of them succeeded."""
        return sum(call.is_done for call in self.calls(*operations))

    def told(self, *operations: str) -> Counter[tuple[str, str]]:
        """How often which problem was the answer: (code, outcome)."""
        return Counter(
            (str(call.told.get("code", "")), call.answer.outcome)
            for call in self.calls(*operations)
            if call.answer is not None and not call.answer.is_done
        )

    def unanswered(self) -> list[Call]:
        """Calls whose clients waited with patience, for nothing."""
        return [call for call in self.calls() if call.answer is None and call.end_s - call.start_s >= PATIENT_SECONDS]
