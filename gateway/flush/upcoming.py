"""What comes next in the log, as batches in order: read and made before the durable store asks for it."""

from __future__ import annotations

from collections import deque

from gateway.durable.ledger import Batch
from gateway.flush.batches import build_batch, parts
from gateway.hot.log import Entry, read_entries
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
        self._read_seq, self._read_digest = seq, digest
        self._made_digest = digest
        self._parts: deque[list[Entry]] = deque()
        self._is_full = True

    @property
    def has_parts(self) -> bool:
        """Whether more was read at once than the batches that were made of it."""
        return bool(self._parts)

    @property
    def has_more(self) -> bool:
        """Whether another batch is there for sure, or was at the last reading, which ended at its bound."""
        return bool(self._parts) or self._is_full

    async def next(self) -> Batch | None:
        """The next batch, read where that is needed; None at the log's end, which may be another one the next time.

        Raises ChainBroken, EntryInvalid, HotStoreUnavailable.
        """
        if self.ready is not None:
            ready, self.ready = self.ready, None
            return ready
        if not self._parts:
            self._parts.extend(parts(await self._read()))
        if not self._parts:
            return None
        batch = await build_batch(self._shard.number, self.epoch, self._made_digest, self._parts.popleft())
        self._made_digest = batch.digest
        return batch

    async def _read(self) -> list[Entry]:
        """What is new, up to about `batch_max` events."""
        entries: list[Entry] = []
        before, count = self._read_seq, min(ENTRIES_MAX, self._batch_max)
        self._is_full = False
        while self._read_seq - before < self._batch_max:
            page = await read_entries(self._shard, self._read_seq, self._read_digest, count)
            entries += page
            if page:
                self._read_seq, self._read_digest = page[-1].seq, page[-1].digest
            if len(page) < count:
                return entries
        self._is_full = True
        return entries
