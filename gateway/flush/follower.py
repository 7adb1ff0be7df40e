"""The follower: what a flusher in another process has committed is told to whoever waits for it in this one."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.flush.watermark import Watermark
from gateway.hot.shard import Shard

#: Between two looks while somebody waits: a tenth of what a commit takes on a good disk.
LOOK_S: Final = 0.001
#: Twice what the take-over of a flusher that died may take.
STALLED_S: Final = 10


class Follower:
    """Raises a watermark by the checkpoint in Redis' meta, which the flusher writes behind each commit."""

    def __init__(self, shard: Shard, watermark: Watermark) -> None:
        self._shard = shard
        self._watermark = watermark
        self._now_s = shard.loop_time
        self._moved_s = self._now_s()

    def is_stalled(self) -> bool:
        """Whether changes wait for a commit, and none was seen for `STALLED_S`."""
        return self._now_s() - self._moved_s > STALLED_S

    async def step(self) -> int:
        """One look; 1 while somebody waits. Raises HotStoreUnavailable."""
        shard, watermark = self._shard, self._watermark
        if not shard.is_open:
            return 0
        epoch, checkpoint, seq = await shard.ask_list("HMGET", shard.keys.meta, "epoch", "checkpoint", "seq")
        # Under another epoch the shard is about to be closed here, too; seqs of two epochs are not compared.
        if epoch is None or checkpoint is None or seq is None or int(epoch) != watermark.epoch:
            return 0
        if int(checkpoint) > watermark.seq or int(checkpoint) >= int(seq):
            self._moved_s = self._now_s()
        watermark.rise(int(checkpoint))
        if not watermark.is_awaited():
            return 0
        await asyncio.sleep(LOOK_S)
        return 1
