"""The flusher: one turn takes what is new in the log to the durable store, then tells who waits and lets Redis forget.

It keeps no state that a crash could lose: where to go on is the shard's row in the durable store, and the gate of the
append decides
whether a batch is new. So it may be killed between any two steps, and may run twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from gateway import metrics
from gateway.domain.errors import GatewayError
from gateway.domain.policy import Policy
from gateway.durable.ledger import Batch, CommitUnknown, Ledger, LedgerUnavailable, ShardRow, TotalsDiffer
from gateway.flush.batches import build_batch, parts, touched
from gateway.flush.watermark import Watermark
from gateway.hot.log import ChainBroken, Entry, read_entries
from gateway.hot.shard import Shard

log = structlog.get_logger(__name__)

SETTLE_NAMES_MAX = 500  # names one settle call looks at; keeps the script below a millisecond
ENTRIES_MAX = 100  # entries read by one call of Redis; each may carry as many events
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
        self._unsettled: list[str] = []
        self._scan_cursor: str | None = None

    def start_from(self, row: ShardRow) -> None:
        """The next turn goes on after the row's checkpoint; keys that an earlier process did not come to settle are looked through."""
        self._scan_cursor = "0"
        self._epoch, self._checkpoint, self._digest = row.epoch, row.checkpoint, row.digest

    async def step(self) -> int:
        """What was new, up to `batch_max` entries, is committed. Returns the number of events.

        Raises:
            ChainBroken: the log is not the one the durable store knows; nothing was written, the shard is closed.
            EntryInvalid: the log holds what this version cannot read; nothing was written, the log stays as it is.
            TotalsDiffer: what a checkpoint event tells is not what the durable store has; nothing of its batch was written, and
                the shard is halted.
            LedgerUnavailable, HotStoreUnavailable: try again.
        """
        if not self._shard.is_open or self._epoch != self._shard.epoch or self._may_rest():
            return 0
        began = time.perf_counter()
        # What is read is of this epoch, whatever is opened meanwhile: a rebuilt shard goes on from the same checkpoint, without it.
        epoch, self._is_urged = self._epoch, False
        try:
            entries = await self._read()
        except ChainBroken:
            if await self._has_been_overtaken():
                return 1
            self._shard.close()  # whoever opens it again decides from which history it goes on
            raise
        if not entries:
            if self._watermark.is_awaited() and await self._shard.ask("EXISTS", self._shard.keys.log) != 1:
                self._shard.close()
                raise ChainBroken("the log is gone")
            metrics.FLUSH_LAG_SECONDS.set(0)
            return await self._settle_left()
        oldest_ms = entries[0].events[0].at_ms
        metrics.FLUSH_LAG_SECONDS.set(max(self._shard.now_ms() - oldest_ms, 0) / 1000)
        count = 0
        for part in parts(entries):
            batch = await build_batch(self._shard.number, epoch, self._digest, part)
            batch.is_late = self._shard.now_ms() - oldest_ms > self._lag_ms_max
            count += len(batch.events)
            if not await self._flush(batch):
                break  # somebody else was there first; what is left is read anew
        rest_s = min(self._rest_factor(oldest_ms) * (time.perf_counter() - began), self._lag_ms_max / 2000)
        self._rest_until = time.perf_counter() + rest_s
        return count

    async def _flush(self, batch: Batch) -> bool:
        """The batch is committed and settled; False when it was not by us."""
        sent = time.perf_counter()
        if not await self._commit(batch):
            return False
        metrics.FLUSH_SECONDS.observe(time.perf_counter() - sent)
        metrics.FLUSH_BATCH_EVENTS.observe(len(batch.events))
        await self._after_commit(batch)
        return True

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

    async def _read(self) -> list[Entry]:
        entries: list[Entry] = []
        seq, digest = self._checkpoint, self._digest
        while seq - self._checkpoint < self._batch_max:
            page = await read_entries(self._shard, seq, digest, ENTRIES_MAX)
            entries += page
            if len(page) < ENTRIES_MAX:
                break
            seq, digest = page[-1].seq, page[-1].digest
        return entries

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

    async def _after_commit(self, batch: Batch) -> None:
        if batch.epoch == self._epoch:
            self._go_on_after(batch.last_seq, batch.digest)
        for event in batch.events:
            outcome = OUTCOME_OF_TYPE.get(event.type)
            if outcome is not None:
                metrics.RESERVATIONS[outcome].inc()
        self._unsettled += touched(batch)
        await self._settle_left()

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
        except GatewayError:
            self._unsettled = names[-UNSETTLED_MAX:]
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
