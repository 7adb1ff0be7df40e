"""Remembering: an Idempotency-Key is known for as long as its sale lives, whenever Redis was lost.

A rebuild copies no request records. What Redis does not know the durable store is asked for. A retention after the rebuild the keys of
all that had ended before it are over. A sale that is still held or confirmed keeps its key: as long as there is one, asking goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from gateway.domain.policy import Policy
from gateway.durable.ledger import Ledger
from gateway.hot.shard import Shard

LOOKS: Final = 8  # in one retention
LOOK_S_MIN: Final = 0.25
LOOK_S_MAX: Final = 3600.0


class Remembering:
    """A job's step. What it found is told to the ticker, which keeps the scripts asking."""

    def __init__(self, shard: Shard, ledger: Ledger, policy: Callable[[], Policy]) -> None:
        """Nothing was looked for."""
        self._shard = shard
        self._ledger = ledger
        self._policy = policy
        self._looked_s: float | None = None
        self._generation = 0
        self._is_found = False

    def is_needed(self) -> bool:
        """Whether a sale lives that is older than what Redis holds."""
        return self._is_found and self._generation == self._shard.keys.generation

    async def step(self) -> int:
        """Where it is time again, the durable store was asked. Raises LedgerUnavailable; what was found before stands."""
        shard, now_s = self._shard, time.monotonic()
        if not shard.is_open:
            return 0
        pause_s = min(max(self._policy().retention_seconds / LOOKS, LOOK_S_MIN), LOOK_S_MAX)
        generation = shard.keys.generation
        if self._looked_s is not None and self._generation == generation and now_s < self._looked_s + pause_s:
            return 0
        # The epoch that rebuilt the shard gave the generation its number; before the first there was nothing.
        is_found = generation > 1 and await self._ledger.has_live_before(shard.number, generation)
        self._looked_s, self._generation, self._is_found = now_s, generation, is_found
        return 0
