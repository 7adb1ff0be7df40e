"""The flusher: one turn takes what is new in the log to the durable store, then tells who waits and lets Redis forget.

It keeps no state that a crash could lose: where to go on is the shard's row in the durable store, and the gate of the
append decides
whether a batch is new. So it may be killed between any two steps, and may run twice.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import structlog

from gateway import metrics
from gateway.domain.policy import Policy
from gateway.durable.ledger import Batch, CommitUnknown, Ledger, LedgerUnavailable, ShardRow, TotalsDiffer
from gateway.flush.batches import touched
from gateway.flush.upcoming import Upcoming
from gateway.flush.watermark import Watermark
from gateway.hot.log import ChainBroken
from gateway.hot.shard import Shard

log = structlog.get_logger(__name__)

SETTLE_NAMES_MAX = 500  # names one settle call looks at; keeps the script below a millisecond
# While nobody waits and all is young, the flusher takes a twentieth of the time, and requests the rest.
REST_FACTOR = 19
REST_FACTOR_LATE = 5  # from half of the age on that an event may have; beyond the whole it does not rest


UNSETTLED_MAX = 100_000  # names kept for a later turn while Redis is away


#: What is counted of each event: whoever commits it counts it, so it is counted once.
OUTCOME_OF_TYPE = {
    "stock.reserved": "held",
    "stock.extended": "extended",
    "stock.confirmed": "confirmed",
    "stock.shipped": "fulfilled",
    "stock.released": "released",
    "stock.expired": "expired",
}


class Fenced(Exception):
    """The shard's row is not ours to move any more: another epoch, another writer of another history, or a halt."""


class Flusher:
    """Flushes one shard. `step` is one turn; a `Job` repeats it."""

    def __init__(
        self,
        shard: Shard,
        ledger: Ledger,
        watermark: Watermark,
        policy: Callable[[], Policy],
        *,
        batch_max: int,
        lag_ms_max: int,
    ) -> None:
        self._shard = shard
        self._ledger = ledger
        self._watermark = watermark
        self._policy = policy
        self._batch_max = batch_max
        self._lag_ms_max = lag_ms_max
        self._is_urged = False
        self._rest_until = 0.0
        self._digest = ""
        self._checkpoint = 0
        self._epoch = 0
        self._upcoming: Upcoming | None = None
        self._unsettled: list[str] = []
        self._scan_cursor: str | None = None

    def start_from(self, row: ShardRow) -> None:
        """The next turn goes on after the row's checkpoint; keys that an earlier process did not come to settle are looked through."""
        self._scan_cursor = "0"
        self._epoch, self._checkpoint, self._digest = row.epoch, row.checkpoint, row.digest
        self._upcoming = None

    async def step(self) -> int:
        """What was new, up to about `batch_max` events, is committed. Returns the number of events.

        Where the log has more than that, the first batch of the next turn is made meanwhile; nothing is on its way when this returns.

        Raises:
            ChainBroken: the log is not the one the durable store knows; nothing was written, the shard is closed.
            EntryInvalid: the log holds what this version cannot read; nothing was written, the log stays as it is.
            TotalsDiffer: what a checkpoint event tells is not what the durable store has; nothing of its batch was written, and
                the shard is halted.
            LedgerUnavailable, HotStoreUnavailable: try again.
        """
        if not self._shard.is_open or self._epoch != self._shard.epoch or self._may_rest():
            return 0
        began, self._is_urged = time.perf_counter(), False
        # Kept while all goes well: after any error what was read is read anew, behind what is committed by then.
        upcoming, self._upcoming = self._upcoming or self._read_on(), None
        try:
            batch = await upcoming.next()
        except ChainBroken:
            if await self._has_been_overtaken():
                return 1
            self._shard.close()  # whoever opens it again decides from which history it goes on
            raise
        if batch is None:
            return await self._idle()
        oldest_ms = batch.events[0].at_ms
        metrics.FLUSH_LAG_SECONDS.set(max(self._shard.now_ms() - oldest_ms, 0) / 1000)
        count = await self._flush_all(upcoming, batch)
        rest_s = min(self._rest_factor(oldest_ms) * (time.perf_counter() - began), self._lag_ms_max / 2000)
        self._rest_until = time.perf_counter() + rest_s
        return count

    def _read_on(self) -> Upcoming:
        """All that is not committed yet."""
        return Upcoming(self._shard, self._epoch, self._checkpoint, self._digest, self._batch_max)

    async def _idle(self) -> int:
        """There is nothing new: what is left to be settled is."""
        if self._watermark.is_awaited() and await self._shard.ask("EXISTS", self._shard.keys.log) != 1:
            self._shard.close()
            raise ChainBroken("the log is gone")
        metrics.FLUSH_LAG_SECONDS.set(0)
        return await self._settle_left()

    async def _flush_all(self, upcoming: Upcoming, batch: Batch) -> int:
        """The batch and all that was read with it are committed, one after the other; returns the number of events."""
        count = 0
        following: Batch | None = batch
        while following is not None:
            count += len(following.events)
            is_last = count >= self._batch_max or not upcoming.has_rows
            following = await self._flush(upcoming, following)
            if upcoming.epoch != self._epoch:
                return count  # the shard was opened anew, and goes on from what that found
            if following is not None and is_last:
                upcoming.ready, self._upcoming = following, upcoming
                return count
        await self._settle_left()
        return count

    async def _flush(self, upcoming: Upcoming, batch: Batch) -> Batch | None:
        """The batch is committed, and who waits for it was told. Returns the batch to go on with, if there is one for sure.

        That one is made while this one is on its way, and what the one before touched is settled: the durable store works in
        another process or thread. None, too, when somebody else was there first: what is left is read anew.
        """
        meanwhile = asyncio.create_task(self._meanwhile(upcoming)) if upcoming.has_more else None
        try:
            batch.is_late = self._shard.now_ms() - batch.events[0].at_ms > self._lag_ms_max
            sent = time.perf_counter()
            if not await self._commit(batch):
                return None
            metrics.FLUSH_SECONDS.observe(time.perf_counter() - sent)
            metrics.FLUSH_BATCH_EVENTS.observe(len(batch.events))
            self._after_commit(batch)
            return None if meanwhile is None else await meanwhile
        finally:
            if meanwhile is not None:
                meanwhile.cancel()
                await asyncio.gather(meanwhile, return_exceptions=True)

    async def _meanwhile(self, upcoming: Upcoming) -> Batch | None:
        """What was committed before is settled, and the next batch is made. Raises as `Upcoming.next`, but for ChainBroken."""
        await self._settle_left()
        try:
            return await upcoming.next()
        except ChainBroken:
            return None  # the next turn meets it, and looks whether somebody has been there

    def urge(self) -> None:
        """Somebody waits in another process: the next turn comes at once."""
        self._is_urged = True

    def _may_rest(self) -> bool:
        """Whether nobody waits for a commit, nothing is older than it may become, and the last turn was just now.

        Batches then grow, which costs less per event, and requests go first.
        """
        return not self._is_urged and not self._watermark.is_awaited() and time.perf_counter() < self._rest_until

    def _rest_factor(self, oldest_ms: int) -> int:
        lag_ms = self._shard.now_ms() - oldest_ms
        if lag_ms > self._lag_ms_max:
            return 0
        return REST_FACTOR_LATE if lag_ms > self._lag_ms_max / 2 else REST_FACTOR

    async def drain(self, within_s: float) -> None:
        """Everything in the log is committed. Raises TimeoutError, and what `step` raises."""
        async with asyncio.timeout(within_s):
            self._rest_until = 0.0
            while await self.step():
                self._rest_until = 0.0

    async def _has_been_overtaken(self) -> bool:
        """Whether another flusher has committed and trimmed what this one was about to read; then it goes on from there."""
        row = await self._ledger.read_shard(self._shard.number)
        if row.epoch != self._epoch or row.checkpoint <= self._checkpoint:
            return False
        self._go_on_after(row.checkpoint, row.digest)
        return True

    async def _commit(self, batch: Batch) -> bool:
        """Whether this batch is now committed by us; False when the durable store was further along, and then we are, too."""
        try:
            if await self._ledger.append(batch):
                return True
        except LedgerUnavailable:
            metrics.LEDGER_ERRORS["append"].inc()
            raise
        except CommitUnknown:
            metrics.LEDGER_ERRORS["append"].inc()
            log.warning("commit_unknown", first_seq=batch.first_seq, last_seq=batch.last_seq)
        except TotalsDiffer as differing:
            await self._halt(str(differing))
            raise
        row = await self._ledger.read_shard(self._shard.number)
        if row.epoch != self._epoch or row.state != "open":
            self._shard.close()
            raise Fenced(f"the shard is {row.state} under epoch {row.epoch}, this gateway has {self._epoch}")
        if (row.checkpoint, row.digest) == (batch.last_seq, batch.digest):
            return True
        self._go_on_after(row.checkpoint, row.digest)
        return False

    async def _halt(self, reason: str) -> None:
        """Nobody works on the shard any more, until an operator has looked at it."""
        self._shard.close()
        if await self._ledger.halt(self._shard.number, self._epoch, reason):
            log.error("shard_halted", epoch=self._epoch, checkpoint=self._checkpoint, reason=reason)

    def _go_on_after(self, seq: int, digest: str) -> None:
        """All up to this seq is committed, whoever did it: who waited for it is told, and the next turn reads on behind it."""
        self._digest, self._checkpoint = digest, seq
        self._watermark.rise(seq)

    def _after_commit(self, batch: Batch) -> None:
        """Who waits for the batch is told; what it touched is to be settled."""
        if batch.epoch == self._epoch:
            self._go_on_after(batch.last_seq, batch.digest)
        for type, count in Counter([event.type for event in batch.events]).items():
            outcome = OUTCOME_OF_TYPE.get(type)
            if outcome is not None:
                metrics.RESERVATIONS[outcome].inc(count)
        self._unsettled += touched(batch)

    async def _settle_left(self) -> int:
        """Checkpoint, log and key lives follow what is committed. What fails here is tried again in the next turn."""
        if self._scan_cursor is not None and not self._unsettled:
            await self._scan()
        names, self._unsettled = self._unsettled, []
        if not names and self._shard.checkpoint >= self._checkpoint:
            return 0
        policy: Policy = self._policy()
        lives = [str(ms) for ms in (policy.idle_ttl_seconds * 1000, policy.ended_ttl_seconds * 1000, policy.record_ms)]
        try:
            for at in range(0, max(len(names), 1), SETTLE_NAMES_MAX):
                some = names[at : at + SETTLE_NAMES_MAX]
                await self._shard.run("settle", (), (str(self._checkpoint), *lives, *some))
        except BaseException:
            # A batch that was committed meanwhile has left names, too.
            self._unsettled = [*names, *self._unsettled][-UNSETTLED_MAX:]
            raise
        return len(names)

    async def _scan(self) -> None:
        """One page of the keys that were there when the shard was opened is to be settled.

        A process that died between commit and settle left some without a life.
        """
        base = self._shard.keys.base
        cursor, keys = await self._shard.scan(self._scan_cursor or "0", f"{base}[srq]:*", SETTLE_NAMES_MAX)
        self._unsettled = [key.removeprefix(base) for key in keys]
        self._scan_cursor = None if cursor == "0" else cursor
