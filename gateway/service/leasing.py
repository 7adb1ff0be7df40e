"""The lease: scripts work on while a gateway finds the shard's epoch open in the durable store, and stop soon after it is not.

A Redis that was the primary once, and the gateways that only reach that one, would otherwise go on promising for ever what nobody
can commit.
"""

from __future__ import annotations

from gateway import metrics
from gateway.durable.ledger import Ledger, LedgerUnavailable
from gateway.hot.shard import Shard

RENEW_S_MAX = 1.0
SET_MS_MAX = 1000  # a lease that reaches Redis later is not given: what was read may not be true any more


class Leaser:
    """Renews the lease of one shard. Every process does; the latest end stands."""

    def __init__(self, shard: Shard, ledger: Ledger, lease_ms: int) -> None:
        """`lease_ms` 0: the lease has no end."""
        self._shard = shard
        self._ledger = ledger
        self._lease_ms = lease_ms

    @property
    def pause_s(self) -> float:
        """The time between two renewals."""
        return min(self._lease_ms / 4000, RENEW_S_MAX) if self._lease_ms else RENEW_S_MAX

    async def step(self) -> int:
        """The shard may work on, or is closed here because the durable store knows it otherwise. Returns 1 in that case.

        Raises LedgerUnavailable, and what `Shard.run` raises: the lease then runs on to its end.
        """
        shard, epoch = self._shard, self._shard.epoch
        if not shard.is_open:
            return 0
        began_s, committed = shard.loop_time(), shard.checkpoint
        try:
            row = await self._ledger.read_shard(shard.number)
        except LedgerUnavailable:
            metrics.LEDGER_ERRORS["lease"].inc()
            raise
        if shard.closed.is_set() or shard.epoch != epoch:
            return 0
        # A checkpoint behind what Redis was told is committed: the database is an older copy of itself.
        if (row.epoch, row.state) != (epoch, "open") or row.checkpoint < committed:
            shard.close()
            return 1
        waited_ms = int((shard.loop_time() - began_s) * 1000)
        left_ms = max(self._lease_ms - waited_ms, 1) if self._lease_ms else 0
        await shard.run("lease", (), (str(left_ms),), within_ms=SET_MS_MAX)
        return 0
