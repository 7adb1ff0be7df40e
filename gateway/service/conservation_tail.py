"""The tail of the log: what Redis has and the durable store has not yet. A check waits for it rather than guess."""

from __future__ import annotations

from gateway.domain.errors import DurableStoreUnavailable
from gateway.flush.watermark import NotReached, TooManyWaiting, Watermark
from gateway.hot.shard import Shard

CATCH_UP_MS = 5000


class Tail:
    """The tail of one shard."""

    def __init__(self, shard: Shard, watermark: Watermark) -> None:
        self._shard = shard
        self._watermark = watermark

    async def is_committed(self, epoch: int, seq: int) -> bool:
        """True once the durable store has this position; False when the shard never gave it, so that it is damage.

        Raises DurableStoreUnavailable when the flusher does not come to it in time: no verdict rather than a wrong one.
        """
        if self._watermark.covers(epoch, seq):
            return True
        last = await self._shard.ask("HGET", self._shard.keys.meta, "seq")
        if seq > int(str(last or 0)):
            return False
        try:
            await self._watermark.reached(epoch, seq, CATCH_UP_MS)
        except (NotReached, TooManyWaiting) as late:
            raise DurableStoreUnavailable("the flusher is behind; check again") from late
        return True
