"""Opening a shard: who may write, under which epoch, and from which history.

The shard's row in the durable store is the authority and allocates epochs. What Redis holds is kept when it continues the committed
history unbroken (attached or adopted), else it is rebuilt from the durable store into key names of their own.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import structlog

from gateway.domain.errors import Corrupt, ShardRecovering
from gateway.domain.event import OPENED, EntryInvalid
from gateway.domain.policy import Policy
from gateway.durable.ledger import Deployment, Ledger, ShardRow
from gateway.hot.damage import make_room
from gateway.hot.keys import Keys
from gateway.hot.library import ensure_library
from gateway.hot.log import ChainBroken, Entry, read_entries
from gateway.hot.meta import Meta, read_meta
from gateway.hot.shard import Shard
from gateway.service.claim import AnothersClaim, Claim
from gateway.service.deployment import verify_store
from gateway.service.forgetting import Forgetting
from gateway.service.halting import Halting
from gateway.service.pacing import Pace
from gateway.service.rebuilding import rebuild
from gateway.service.tail import commit_tail, reaches, within

log = structlog.get_logger(__name__)

OWNER_LEASE_MS = 8_000  # an opener that was not heard of for so long, dead or frozen, may be overtaken
PAGE = 1000


class Opener:
    """Opens one shard. `open` is safe to repeat and to run on several gateways at once: the row decides."""

    def __init__(
        self,
        shard: Shard,
        ledger: Ledger,
        deployment: Deployment,
        policy: Callable[[], Policy],
        expected_ms: Callable[[], int],
        lease_ms: int,
        *,
        rebuilds_max: int,
    ) -> None:
        """`expected_ms` is what the shard's clock should say, 0 = not known; `lease_ms` how long it works without the durable store."""
        self._halting = Halting(shard, ledger, rebuilds_max)
        self._shard = shard
        self._ledger = ledger
        self._deployment = deployment
        self._policy = policy
        self._expected_ms = expected_ms
        self._lease_ms = lease_ms
        self._is_broken = False  # whether the log last read ended in what does not belong to it
        self.forgetting = Forgetting(shard)
        self.pace = Pace()
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
        self._claim = Claim(ledger, shard.number, self._owner, OWNER_LEASE_MS)
        self._anothers = AnothersClaim(self._owner)

    async def open(self, *, is_start: bool = False) -> ShardRow:
        """The shard answers calls under the row's epoch. A rebuild at the start of a process is not counted, nor is one of a server
        that has kept all it was given while the shard was opened on another.

        Raises:
            ShardRecovering: another gateway is opening it; try again.
            ShardHalted: the operator has to decide; looking again changes nothing.
            Corrupt: the log has what this version cannot read, or this Redis holds another deployment's shard.
            LedgerUnavailable, HotStoreUnavailable: try again.
        """
        shard, ledger = self._shard, self._ledger
        await verify_store(ledger, self._deployment)
        await ensure_library(shard)
        lineage = shard.link.lineage
        while True:
            row = await ledger.read_shard(shard.number)
            meta = await read_meta(shard)
            await self._halting.refuse_halted(row, meta)
            self._refuse_foreign(meta)
            if meta is not None and await self._is_same(row, meta, lineage):
                log.info("shard_attached", epoch=row.epoch, checkpoint=row.checkpoint, tail=meta.seq - row.checkpoint)
                self.forgetting.begin()
                return self._opened(row, lineage)
            newer = await ledger.read_shard(shard.number)
            if (newer.epoch, newer.state, newer.checkpoint) == (row.epoch, row.state, row.checkpoint):
                break  # nobody is at work on it, so what was seen stands
        if self._anothers.is_running(row, OWNER_LEASE_MS):
            raise ShardRecovering("another gateway is opening the shard")
        self.pace.refuse_haste(asyncio.get_running_loop().time())
        # To raise the epoch for a server that was the primary once would close the shard to those who work on the true one.
        await shard.verify()
        if meta is not None:
            is_continued = meta.checkpoint <= row.checkpoint or await self._is_continued(row, meta)
            await self._halting.refuse_ahead(row, meta, is_continued=is_continued)
        raised = await ledger.raise_epoch(shard.number, row.epoch, self._owner, OWNER_LEASE_MS)
        if raised is None:
            raise ShardRecovering("another gateway is opening the shard")
        self.pace.raised(asyncio.get_running_loop().time())
        self._claim.begin(raised.epoch)
        try:
            row = await self._go_on(raised, meta, lineage, is_start=is_start)
        finally:
            await self._claim.end()
        self.forgetting.begin()
        return self._opened(row, lineage)

    async def _go_on(self, raised: ShardRow, meta: Meta | None, lineage: str, *, is_start: bool) -> ShardRow:
        """The shard is open under the raised epoch, with what Redis kept or rebuilt. Raises what `open` raises."""
        ledger = self._ledger
        tail = await self._tail(raised, generation=meta.generation if meta else raised.generation)
        await commit_tail(ledger, self._halting, self._owner, raised, meta, tail, self._claim.keep)
        row = await ledger.read_shard(raised.shard)
        if row.epoch != raised.epoch:
            raise ShardRecovering("another gateway has overtaken this one")
        is_sound = meta is not None and not meta.is_poisoned and not self._is_broken
        if meta is not None and is_sound and reaches(tail, raised, meta):
            await self._halting.refuse_drift(row, meta)
            return await self._adopt(row, meta, tail, lineage)
        # Where it was lost by a server that keeps what it is given: others had opened it on another one.
        is_elsewhere = meta is not None and meta.is_whole(lineage) and meta.generation < raised.generation
        return await self._rebuild(row, meta, tail, lineage, is_counted=not (is_start or is_elsewhere))

    async def attach(self) -> ShardRow:
        """As `open`, where the shard is at work already: a process that does not flush leaves opening to the one that does.

        Raises ShardRecovering where it is not, and what `open` raises.
        """
        await verify_store(self._ledger, self._deployment)
        await ensure_library(self._shard)
        lineage = self._shard.link.lineage
        row, meta = await self._ledger.read_shard(self._shard.number), await read_meta(self._shard)
        await self._halting.refuse_halted(row, meta)
        self._refuse_foreign(meta)
        if meta is None or not await self._is_same(row, meta, lineage):
            raise ShardRecovering("the shard is not open yet")
        log.info("shard_attached", epoch=row.epoch, checkpoint=row.checkpoint, tail=meta.seq - row.checkpoint)
        return self._opened(row, lineage)

    def _refuse_foreign(self, meta: Meta | None) -> None:
        if meta is not None and meta.deployment != self._deployment.id:
            raise Corrupt(f"this Redis holds the shard of another deployment under the prefix {self._shard.prefix!r}")

    async def _is_same(self, row: ShardRow, meta: Meta, lineage: str) -> bool:
        """Whether the shard is at work as the row says, so that this gateway only joins in."""
        if row.state != "open" or meta.is_poisoned or meta.totals is None:
            return False
        if (meta.seen_epoch, meta.lineage) != (row.epoch, lineage):
            return False
        return await self._is_continued(row, meta)

    def _opened(self, row: ShardRow, lineage: str) -> ShardRow:
        self._shard.open_under(row.epoch, row.generation, lineage, row.checkpoint)
        return row

    async def _is_continued(self, row: ShardRow, meta: Meta) -> bool:
        """Whether the chain leads from the anchor through what meta said, and on to the log's end.

        Others may have written since meta was read. What stands at the end and is not ours would stop the flusher and every
        writer, so such a log is not worked on.
        """
        tail = await self._tail(row, generation=meta.generation)
        passed = {(row.checkpoint, row.digest), *((entry.seq, entry.digest) for entry in tail)}
        return (meta.seq, meta.digest) in passed and not self._is_broken

    async def _tail(self, row: ShardRow, *, generation: int) -> list[Entry]:
        """The log after the committed anchor, as far as the chain leads: these are changes of the history that is committed.

        Raises Corrupt for an entry that this version cannot read: to leave it out would lose it.
        """
        log_name = Keys(self._shard.prefix, self._shard.number, generation).log
        tail: list[Entry] = []
        self._is_broken = False
        seq, digest = row.checkpoint, row.digest
        try:
            if await self._shard.ask("TYPE", log_name) != "stream":
                # The anchor always stays: a log that is gone was deleted, and nothing can be written behind it.
                raise ChainBroken("the log is gone")
            while page := await read_entries(self._shard, seq, digest, PAGE, generation_log=log_name):
                tail += page
                seq, digest = page[-1].seq, page[-1].digest
            if not tail and not await self._shard.ask("XRANGE", log_name, f"{seq}-0", f"{seq}-0"):
                raise ChainBroken("the anchor is gone")
        except ChainBroken as problem:
            tail += problem.entries
            self._is_broken = True
            if row.generation:  # a shard that was never opened has no log yet
                log.warning("chain_broken", problem=str(problem), checkpoint=row.checkpoint)
        except EntryInvalid as problem:
            raise Corrupt(f"the log after seq {seq} cannot be read: {problem}") from problem
        kept = within(tail, await self._ledger.epoch_ends(row.shard))
        self._is_broken = self._is_broken or len(kept) < len(tail)
        return kept

    async def _adopt(self, raised: ShardRow, meta: Meta, tail: list[Entry], lineage: str) -> ShardRow:
        """Redis' data stand, and the shard goes on under the raised epoch."""
        await self._install(raised, meta, meta.generation, lineage, -1, "adopted")
        log.info("shard_adopted", epoch=raised.epoch, seq=meta.seq, generation=meta.generation)
        return await self._publish(raised, meta.generation, 0, tail, meta.seq)

    async def _rebuild(
        self,
        raised: ShardRow,
        meta: Meta | None,
        tail: list[Entry],
        lineage: str,
        *,
        is_counted: bool,
        end_seq: int | None = None,
    ) -> ShardRow:
        """Redis holds what the durable store knows to be open, under names of their own; all else loads on demand.

        `end_seq`: where the history before this epoch ended, if not at the row's checkpoint.
        """
        is_first = raised.checkpoint == 0 and raised.epoch == 1
        is_counted = is_counted and not is_first
        if is_counted:
            await self._halting.refuse_rebuilds(raised, meta)
        generation = raised.epoch
        keys = Keys(self._shard.prefix, self._shard.number, generation)
        try:
            counts = await rebuild(self._shard, keys, self._ledger, raised.epoch, self._claim.keep)
        except Corrupt as problem:
            await self._halting.halt(raised, meta, f"the books of the durable store do not add up: {problem}")
            raise
        ask_ms, how = (0, "created") if is_first else (self._policy().retention_ms, "rebuilt")
        await self._install(raised, meta, generation, lineage, ask_ms, how)
        log.info(
            "shard_rebuilt", epoch=raised.epoch, generation=generation, how=how, holds=counts.holds, skus=counts.skus
        )
        rebuilt_ms = 0 if is_first else self._shard.now_ms()
        end_seq = raised.checkpoint if end_seq is None else end_seq
        return await self._publish(raised, generation, rebuilt_ms, tail, end_seq, is_counted=is_counted)

    async def _install(
        self, row: ShardRow, meta: Meta | None, generation: int, lineage: str, ask_ms: int, how: str
    ) -> None:
        """The shard goes on in Redis from where the row stands, under the row's epoch."""
        shard = self._shard
        keys = Keys(shard.prefix, shard.number, generation)
        if meta is None:
            await make_room(shard)
        reply = await shard.ask_script(
            "open",
            (keys.meta, keys.log),
            "open",
            row.epoch,
            meta.seen_epoch if meta else 0,
            meta.digest if meta else "",
            row.checkpoint,
            row.digest,
            generation,
            shard.number,
            lineage,
            ask_ms,
            how,
            self._deployment.id,
            row.totals.pack(),
            self._expected_ms(),
            self._lease_ms,
            self._policy().retention_ms,
            # What was read and written before is on this server: another one, just promoted, may have half of it.
            lineage=lineage,
        )
        if reply[1] != "OPENED":
            raise ShardRecovering(f"Redis has epoch {reply[4]} already")
        shard.learn_clock(int(reply[2]))

    async def _publish(
        self,
        raised: ShardRow,
        generation: int,
        rebuilt_ms: int,
        tail: list[Entry],
        end_seq: int,
        *,
        is_counted: bool = False,
    ) -> ShardRow:
        """The row says open; every epoch before that has no end yet, ended here: also one whose successor never opened."""
        shard, ledger = self._shard, self._ledger
        known = await ledger.epoch_ends(shard.number)
        ends = dict.fromkeys(range(1, raised.epoch), end_seq)
        for opened in reversed([event for entry in tail for event in entry.events if event.type == OPENED]):
            ends.update(dict.fromkeys(range(1, opened.epoch), opened.seq - 1))
        ended = [(epoch, end) for epoch, end in ends.items() if epoch not in known]
        is_opened = await ledger.open_shard(
            shard.number, raised.epoch, self._owner, generation, rebuilt_ms, ended, counts_as_rebuild=is_counted
        )
        if not is_opened:
            raise ShardRecovering("another gateway has overtaken this one")
        return await ledger.read_shard(shard.number)
