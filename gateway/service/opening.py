"""Opening a shard: who may write, under which epoch, and from which history.

The shard's row in the durable store is the authority and allocates epochs. What Redis holds is kept when it continues
the committed
history unbroken (attached or adopted), else it is rebuilt from the durable store into key names of their own.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from gateway.domain.errors import Corrupt, HotStoreUnavailable, ShardRecovering
from gateway.domain.event import OPENED, EntryInvalid
from gateway.domain.policy import Policy
from gateway.durable.ledger import Deployment, Ledger, ShardRow
from gateway.flush.batches import build_batch
from gateway.hot.keys import Keys
from gateway.hot.log import ChainBroken, Entry, read_entries
from gateway.hot.shard import Shard
from gateway.service.deployment import verify_store
from gateway.service.rebuilding import rebuild
from gateway.service.restoring import forget_before

log = structlog.get_logger(__name__)

OWNER_LEASE_MS = 30_000  # a recoverer that has not finished by then may be overtaken
PAGE = 1000


@dataclass(slots=True)
class Meta:
    """What Redis says of the shard."""

    epoch: int
    generation: int
    seq: int
    digest: str
    lineage: str
    is_poisoned: bool
    deployment: str


class Opener:
    """Opens one shard. `open` is safe to repeat and to run on several gateways at once: the row decides."""

    def __init__(self, shard: Shard, ledger: Ledger, deployment: Deployment, policy: Callable[[], Policy]) -> None:
        self._shard = shard
        self._ledger = ledger
        self._deployment = deployment
        self._policy = policy
        self._awaited: tuple[tuple[int, str, int], float] | None = None  # another's opening, and since when it is seen
        self._claimed_s = 0.0  # when the row was last claimed, by the loop's clock
        self._is_broken = False  # whether the log last read ended in what does not belong to it
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"

    async def open(self) -> ShardRow:
        """The shard answers calls under the row's epoch.

        Raises:
            ShardRecovering: another gateway is opening it; try again.
            Corrupt: the books of the durable store do not add up; a human must look.
            DeploymentMismatch as Corrupt: this Redis holds another deployment's shard.
            LedgerUnavailable, HotStoreUnavailable: try again.
        """
        shard, ledger = self._shard, self._ledger
        await verify_store(self._ledger, self._deployment)
        await self._load_scripts()
        lineage = shard.link.lineage
        while True:
            row = await ledger.read_shard(shard.number)
            meta = await self._read_meta()
            self._refuse_foreign(row, meta)
            if meta is not None and await self._is_same(row, meta, lineage):
                log.info("shard_attached", epoch=row.epoch, checkpoint=row.checkpoint, tail=meta.seq - row.checkpoint)
                return self._opened(row, lineage)
            newer = await ledger.read_shard(shard.number)
            if (newer.epoch, newer.state, newer.checkpoint) == (row.epoch, row.state, row.checkpoint):
                break  # nobody is at work on it, so what was seen stands
        if self._is_anothers(row):
            raise ShardRecovering("another gateway is opening the shard")
        # To raise the epoch for a server that was the primary once would close the shard to those who work on the true one.
        await shard.verify()
        raised = await ledger.raise_epoch(shard.number, row.epoch, self._owner, OWNER_LEASE_MS)
        if raised is None:
            raise ShardRecovering("another gateway is opening the shard")
        self._claimed_s = asyncio.get_running_loop().time()
        tail = await self._tail(raised, generation=meta.generation if meta else row.generation)
        await self._commit_tail(raised, tail)
        is_sound = meta is not None and not meta.is_poisoned and not self._is_broken
        if meta is not None and is_sound and _reaches(tail, raised, meta):
            row = await self._adopt(raised, meta, tail, lineage)
        else:
            row = await self._rebuild(await ledger.read_shard(shard.number), meta, tail, lineage)
        return self._opened(row, lineage)

    async def attach(self) -> ShardRow:
        """As `open`, where the shard is at work already: a process that does not flush leaves opening to the one that does.

        Raises ShardRecovering where it is not, and what `open` raises.
        """
        await verify_store(self._ledger, self._deployment)
        await self._load_scripts()
        lineage = self._shard.link.lineage
        row, meta = await self._ledger.read_shard(self._shard.number), await self._read_meta()
        self._refuse_foreign(row, meta)
        if meta is None or not await self._is_same(row, meta, lineage):
            raise ShardRecovering("the shard is not open yet")
        log.info("shard_attached", epoch=row.epoch, checkpoint=row.checkpoint, tail=meta.seq - row.checkpoint)
        return self._opened(row, lineage)

    async def _load_scripts(self) -> None:
        """The server knows the scripts. A full one refuses FUNCTION LOAD, also of what it has already."""
        shard = self._shard
        if await shard.ask_list("FUNCTION", "LIST", "LIBRARYNAME", shard.scripts.library):
            return
        try:
            await shard.load_scripts()
        except HotStoreUnavailable as problem:
            if "OOM" in problem.detail:
                raise HotStoreUnavailable(f"{problem.detail} Redis takes no scripts when full: raise it") from problem
            raise

    def _is_anothers(self, row: ShardRow) -> bool:
        """Whether another opener is at work, so that the epoch is better not even asked for.

        The store would refuse while its time runs, and raise the epoch of a shard that it has opened since the row was read.
        Whether its time is over is told by this host's clock, or by as long a wait where that is behind the store's.
        """
        if row.state != "recovering" or row.owner in ("", self._owner):
            self._awaited = None
            return False
        seen, now_s = (row.epoch, row.owner, row.owner_deadline_ms), asyncio.get_running_loop().time()
        if self._awaited is None or self._awaited[0] != seen:
            self._awaited = (seen, now_s)
        has_waited = now_s - self._awaited[1] >= OWNER_LEASE_MS / 1000
        return time.time() * 1000 < row.owner_deadline_ms and not has_waited

    def _refuse_foreign(self, row: ShardRow, meta: Meta | None) -> None:
        if row.state == "halted":
            raise Corrupt("the shard is halted; an operator must look at it")
        if meta is not None and meta.deployment != self._deployment.id:
            raise Corrupt(f"this Redis holds the shard of another deployment under the prefix {self._shard.prefix!r}")

    async def _is_same(self, row: ShardRow, meta: Meta, lineage: str) -> bool:
        """Whether the shard is at work as the row says, so that this gateway only joins in."""
        if row.state != "open" or meta.is_poisoned or (meta.epoch, meta.lineage) != (row.epoch, lineage):
            return False
        return await self._is_continued(row, meta)

    def _opened(self, row: ShardRow, lineage: str) -> ShardRow:
        self._shard.open_under(row.epoch, row.generation, lineage, row.checkpoint)
        return row

    async def _read_meta(self) -> Meta | None:
        shard = self._shard
        names = ("epoch", "gen", "seq", "digest", "lineage", "poison", "deployment")
        values = await shard.ask_list("HMGET", shard.keys.meta, *names)
        epoch, generation, seq, digest, lineage, poison, deployment = values
        if epoch is None:
            return None
        return Meta(int(epoch), int(generation), int(seq), digest, lineage or "", poison is not None, deployment or "")

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
            while page := await read_entries(self._shard, seq, digest, PAGE, generation_log=log_name):
                tail += page
                seq, digest = page[-1].seq, page[-1].digest
            if await self._shard.ask("EXISTS", log_name) != 1:
                # The anchor always stays: a log that is gone was deleted, and nothing can be written behind it.
                raise ChainBroken("the log is gone")
        except ChainBroken as problem:
            tail += problem.entries
            self._is_broken = True
            if row.generation:  # a shard that was never opened has no log yet
                log.warning("chain_broken", problem=str(problem), checkpoint=row.checkpoint)
        except EntryInvalid as problem:
            raise Corrupt(f"the log after seq {seq} cannot be read: {problem}") from problem
        return tail

    async def _commit_tail(self, raised: ShardRow, tail: list[Entry]) -> None:
        """What the log has beyond the checkpoint is in the durable store, under the raised epoch."""
        digest = raised.digest
        for at in range(0, len(tail), PAGE):
            page = tail[at : at + PAGE]
            try:
                batch = await build_batch(self._shard.number, raised.epoch, digest, page)
            except EntryInvalid as problem:
                raise Corrupt(f"the log cannot be read: {problem}") from problem
            if not await self._ledger.append(batch, owner=self._owner):
                raise ShardRecovering("another gateway has overtaken this one")
            await self._keep_claim(raised.epoch)
            digest = page[-1].digest

    async def _adopt(self, raised: ShardRow, meta: Meta, tail: list[Entry], lineage: str) -> ShardRow:
        """Redis' data stand, and the shard goes on under the raised epoch."""
        await self._install(raised.epoch, meta, meta.seq, meta.digest, meta.generation, lineage, -1, "adopted")
        log.info("shard_adopted", epoch=raised.epoch, seq=meta.seq, generation=meta.generation)
        return await self._publish(raised, meta.generation, 0, tail, meta.seq)

    async def _rebuild(self, raised: ShardRow, meta: Meta | None, tail: list[Entry], lineage: str) -> ShardRow:
        """Redis holds what the durable store knows to be open, under names of their own; all else loads on demand."""
        is_first = raised.checkpoint == 0 and raised.epoch == 1
        generation = raised.epoch
        keys = Keys(self._shard.prefix, self._shard.number, generation)
        counts = await rebuild(self._shard, keys, self._ledger, raised.epoch, partial(self._keep_claim, raised.epoch))
        ask_ms = 0 if is_first else self._policy().retention_seconds * 1000
        how = "created" if is_first else "rebuilt"
        await self._install(raised.epoch, meta, raised.checkpoint, raised.digest, generation, lineage, ask_ms, how)
        log.info(
            "shard_rebuilt", epoch=raised.epoch, generation=generation, how=how, holds=counts.holds, skus=counts.skus
        )
        row = await self._publish(raised, generation, 0 if is_first else self._shard.now_ms(), tail, raised.checkpoint)
        self._forget_task = asyncio.create_task(forget_before(self._shard, generation))
        return row

    async def _keep_claim(self, epoch: int) -> None:
        """The row stays this gateway's, however long the opening takes. Raises ShardRecovering when it is another's."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._claimed_s < OWNER_LEASE_MS / 3000:
            return
        if not await self._ledger.keep_claim(self._shard.number, epoch, self._owner, OWNER_LEASE_MS):
            raise ShardRecovering("another gateway has overtaken this one")
        self._claimed_s = now_s

    async def _install(
        self, epoch: int, meta: Meta | None, seq: int, digest: str, generation: int, lineage: str, ask_ms: int, how: str
    ) -> None:
        shard = self._shard
        keys = Keys(shard.prefix, shard.number, generation)
        reply = await shard.ask_script(
            "open",
            (keys.meta, keys.log),
            "open",
            epoch,
            meta.epoch if meta else 0,
            meta.digest if meta else "",
            seq,
            digest,
            generation,
            shard.number,
            lineage,
            ask_ms,
            how,
            self._deployment.id,
            # What was read and written before is on this server: another one, just promoted, may have half of it.
            lineage=lineage,
        )
        if reply[1] != "OPENED":
            raise ShardRecovering(f"Redis has epoch {reply[4]} already")
        shard.learn_clock(int(reply[2]))

    async def _publish(
        self, raised: ShardRow, generation: int, rebuilt_ms: int, tail: list[Entry], end_seq: int
    ) -> ShardRow:
        """The row says open; every epoch before that has no end yet, ended here: also one whose successor never opened."""
        shard, ledger = self._shard, self._ledger
        known = await ledger.epoch_ends(shard.number)
        ends = dict.fromkeys(range(1, raised.epoch), end_seq)
        for opened in reversed([event for entry in tail for event in entry.events if event.type == OPENED]):
            ends.update(dict.fromkeys(range(1, opened.epoch), opened.seq - 1))
        ended = [(epoch, end) for epoch, end in ends.items() if epoch not in known]
        if not await ledger.open_shard(shard.number, raised.epoch, self._owner, generation, rebuilt_ms, ended):
            raise ShardRecovering("another gateway has overtaken this one")
        return await ledger.read_shard(shard.number)


def _reaches(tail: list[Entry], row: ShardRow, meta: Meta) -> bool:
    """Whether the committed history and the tail after it lead to exactly what meta says."""
    end = (tail[-1].seq, tail[-1].digest) if tail else (row.checkpoint, row.digest)
    return end == (meta.seq, meta.digest)
