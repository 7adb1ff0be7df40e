"""The claim on a shard's row: it is this opener's for a while, and longer as long as the opening goes on."""

from __future__ import annotations

import asyncio

from gateway.domain.errors import ShardRecovering
from gateway.durable.ledger import Ledger


class Claim:
    """Begins with the raising of the epoch. `keep` is called with each page of work and asks the durable store a third into it."""

    def __init__(self, ledger: Ledger, shard: int, owner: str, lease_ms: int) -> None:
        self._ledger = ledger
        self._shard = shard
        self._owner = owner
        self._lease_ms = lease_ms
        self._epoch = 0
        self._since_s = 0.0  # by the loop's clock

    def begin(self, epoch: int) -> None:
        """The row has just been claimed under this epoch."""
        self._epoch, self._since_s = epoch, asyncio.get_running_loop().time()

    async def keep(self) -> None:
        """The row stays this opener's, however long it takes. Raises ShardRecovering when it is another's."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._since_s < self._lease_ms / 3000:
            return
        if not await self._ledger.keep_claim(self._shard, self._epoch, self._owner, self._lease_ms):
            raise ShardRecovering("another gateway has overtaken this one")
        self._since_s = now_s
