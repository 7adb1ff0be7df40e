"""Halting: what no gateway may decide by itself closes the shard for all of them, until the operator has decided.

The row in the durable store is the authority; Redis is shut after it, so that also those stop who look there alone.
"""

from __future__ import annotations

from typing import Final

import structlog

from gateway.domain.errors import GatewayError, ShardHalted, ShardRecovering
from gateway.domain.totals import Totals
from gateway.durable.ledger import Ledger, ShardRow
from gateway.hot.meta import Meta, shut
from gateway.hot.shard import Shard

log = structlog.get_logger(__name__)

#: What the reason of a halt for that begins with.
TOTALS_DIFFER: Final = "the totals of shard"
#: In this time not more than `recovery.rebuilds_max` rebuilds.
REBUILDS_WINDOW_MS: Final = 600_000


def ahead(row: ShardRow, meta: Meta) -> str:
    """In what Redis has come further than the durable store; empty where it has not. `row` was read after `meta`."""
    if meta.epoch > row.epoch:
        return f"Redis is under epoch {meta.epoch}, the durable store under {row.epoch}"
    if meta.checkpoint > row.checkpoint:
        return f"Redis was told that seq {meta.checkpoint} is committed, the durable store ends at {row.checkpoint}"
    return ""


class Halting:
    """The reasons for which one shard halts. Each method returns when its reason is not there, and raises ShardHalted when it is."""

    def __init__(self, shard: Shard, ledger: Ledger, rebuilds_max: int) -> None:
        self._shard = shard
        self._ledger = ledger
        self._rebuilds_max = rebuilds_max

    async def refuse_halted(self, row: ShardRow, meta: Meta | None) -> None:
        """Pass when nobody has halted the shard. Else Redis is shut, too: whoever halted it may have died before."""
        if row.state == "halted":
            await self._shut(meta)
        elif row.halted_reason is None:
            return
        raise ShardHalted(row.halted_reason or "by hand")

    async def refuse_ahead(self, row: ShardRow, meta: Meta, *, is_continued: bool) -> None:
        """Pass unless Redis has come further than the durable store says: that one then is an older copy of itself.

        `row` was read after `meta`. `is_continued`: the log leads from the row's checkpoint to what meta says, so that
        everything since is at hand and nothing was lost.
        """
        told = ahead(row, meta)
        if told and not (is_continued and meta.epoch <= row.epoch):
            await self.halt(row, meta, f"{told}: was the database restored from a backup?")

    async def refuse_rebuilds(self, row: ShardRow, meta: Meta | None) -> None:
        """Pass when the shard may be rebuilt once more."""
        count = await self._ledger.rebuilds_within(row.shard, REBUILDS_WINDOW_MS)
        if count >= self._rebuilds_max:
            minutes = REBUILDS_WINDOW_MS // 60_000
            told = (
                f"{count} rebuilds in {minutes} minutes and another one is needed: Redis does not keep what it is given"
            )
            await self.halt(row, meta, told)

    async def refuse_drift(self, row: ShardRow, meta: Meta) -> None:
        """Pass when Redis counts what the row counts, both at the row's checkpoint, or when a version kept no totals there.

        A rebuild would be no way out: it takes the durable counters for right, and a level that was changed by hand in Redis
        stands there, too, once it was changed again and committed.
        """
        if meta.totals is None or meta.totals == row.totals.pack():
            return
        told = f"({', '.join(Totals._fields)}) is {meta.totals!r} in Redis and {row.totals.pack()!r} here"
        where = f"{TOTALS_DIFFER} {row.shard} differ at seq {row.checkpoint} of epoch {meta.epoch}"
        await self.halt(row, meta, f"{where}: {told}")

    async def halt(self, row: ShardRow, meta: Meta | None, reason: str) -> None:
        """The shard is halted under the row's epoch. Raises ShardHalted; ShardRecovering when somebody was quicker."""
        if not await self._ledger.halt(row.shard, row.epoch, reason):
            raise ShardRecovering("another gateway is opening the shard")
        await self._shut(meta)
        raise ShardHalted(reason)

    async def _shut(self, meta: Meta | None) -> None:
        if meta is None or not meta.seen_epoch:
            return
        try:
            await shut(self._shard, meta)
        except GatewayError as problem:
            # The row is halted, so nothing is committed any more; the next look tries again.
            log.warning("shut_failed", epoch=meta.seen_epoch, problem=str(problem))
