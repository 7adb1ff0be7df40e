"""The pace of openings: each raises the epoch, and one that fails or is lost at once must not do so several times a second."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from gateway.domain.errors import ShardRecovering
from gateway.loop import doubled_seconds

#: Openings that follow each other soon and go at once all the same: a fault or two, and what fails on the way.
PROMPT_MAX: Final = 3
PAUSE_S_MIN: Final = 0.5
#: Well below the ten seconds in which a shard is open again when a fault is over.
PAUSE_S_MAX: Final = 3.0
#: An opening that comes so long after the one before is the first of its kind again.
STEADY_S: Final = 30.0


class Pace:
    """Of the openings of one process. The pauses double, and half of each is by chance: several gateways do not keep step."""

    def __init__(self, *, jitter: Callable[[], float] = random.random) -> None:
        """Nothing was opened yet. `jitter` gives numbers in [0, 1)."""
        self._jitter = jitter
        self._in_a_row = 0
        self._last_s = 0.0
        self._due_s = 0.0

    def refuse_haste(self, now_s: float) -> None:
        """Pass when the epoch may be raised. Raises ShardRecovering while a pause lasts; joining in what others opened needs none."""
        if now_s < self._due_s:
            left_s = self._due_s - now_s
            raise ShardRecovering(f"{self._in_a_row} openings in a row did not last; the next one is in {left_s:.1f} s")

    def raised(self, now_s: float) -> None:
        """The epoch was raised. `now_s` here and there is by any clock that only goes on."""
        if now_s - self._last_s >= STEADY_S:
            self._in_a_row = 0
        self._last_s = now_s
        self._in_a_row += 1
        if (further := self._in_a_row - PROMPT_MAX + 1) > 0:
            self._due_s = now_s + doubled_seconds(further, PAUSE_S_MIN, PAUSE_S_MAX) * (0.5 + 0.5 * self._jitter())
