"""What comes next in the log, as batches in order: read and made before the durable store asks for it."""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.domain.event import CHECKPOINT
from gateway.durable.ledger import Batch
from gateway.flush.batches import Draft
from gateway.hot.log import Row, Turns, entry_of, read_rows
from gateway.hot.shard import Shard

ENTRIES_MAX = 100  # entries read by one call of Redis; each may carry as many events


class Upcoming:
    """The log behind a position, batch after batch. Nothing of it is on its way to the durable store yet.

    All of it belongs to the epoch in which it was read, whatever is opened meanwhile: a rebuilt shard goes on from the same
    checkpoint, without it. Whoever meets an error throws the whole object away and reads anew from what is committed.
    """

    def __init__(self, shard: Shard, epoch: int, seq: int, digest: str, batch_max: int) -> None:
        """Nothing is read yet. `seq` and `digest` are those of the entry before."""
        self.epoch = epoch
        #: A batch that was made while the one before it was being committed.
        self.ready: Batch | None = None
        self._shard = shard
        self._batch_max = batch_max
        self._seq, self._digest = seq, digest  # of the last entry that is in a batch
        self._rows: deque[Row] = deque()
        self._is_full = True

    @property
    def has_rows(self) -> bool:
        """Whether more was read at once than is in the batches that were made of it."""
        return bool(self._rows)

    @property
    def has_more(self) -> bool:
        """Whether another batch is there for sure, or was at the last reading, which ended at its bound."""
        return bool(self._rows) or self._is_full

    async def next(self) -> Batch | None:
        """The next batch, read where that is needed; None at the log's end, which may be another one the next time.

        It has about `batch_max` events, fewer where the log ends, or at a checkpoint event: totals are compared at a batch's end.

        Raises ChainBroken, EntryInvalid, HotStoreUnavailable.
        """
        if self.ready is not None:
            ready, self.ready = self.ready, None
            return ready
        draft = Draft(self._shard.number, self.epoch, self._digest, self._seq + 1)
        self._is_full = self._is_full or not self._rows  # the log may have grown since it was read to its end
        turns = Turns()
        while len(draft) < self._batch_max and (self._rows or (self._is_full and await self._read())):
            entry = entry_of(self._rows.popleft(), self._seq, self._digest)
            draft.add(entry)
            self._seq, self._digest = entry.seq, entry.digest
            if entry.events[-1].type == CHECKPOINT:
                break
            if turns.is_over(len(entry.events)):
                await asyncio.sleep(0)
        return await draft.batch() if draft else None

    async def _read(self) -> bool:
        """Whether there was more behind the rows that are left."""
        count = min(ENTRIES_MAX, self._batch_max)
        rows = await read_rows(self._shard, self._seq, count)
        self._rows.extend(rows)
        self._is_full = len(rows) == count
        return bool(rows)
