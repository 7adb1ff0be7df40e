"""The keeper: the shard is opened at the start, and again whenever it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway import metrics
from gateway.app.refusal import StartRefused
from gateway.app.role import Role
from gateway.domain.errors import GatewayError, HotStoreUnavailable, ShardHalted
from gateway.durable.ledger import Ledger, LedgerError
from gateway.flush.flusher import Flusher
from gateway.flush.watermark import Watermark
from gateway.hot.damage import newest_seq
from gateway.hot.shard import Shard
from gateway.service.books import Books
from gateway.service.opening import Opener

log = structlog.get_logger(__name__)

OPEN_WAIT_S = 40.0  # longer than another gateway's claim on a shard that it is opening
NO_REPLICAS = "NOREPLICAS"  # what Redis refuses writes with below `min-replicas-to-write`; they may be starting, too


class Keeper:
    """Keeps one shard open, and tells flusher, watermark and services from where it goes on. `step` is one turn."""

    def __init__(
        self,
        shard: Shard,
        ledger: Ledger,
        opener: Opener,
        flusher: Flusher,
        watermark: Watermark,
        books: Books,
        role: Role,
        admit: Callable[[], Awaitable[None]],
    ) -> None:
        """A `web` one only joins in where the shard is at work already. `admit` raises where Redis is not fit for work."""
        self._shard = shard
        self._ledger = ledger
        self._opener = opener
        self._flusher = flusher
        self._watermark = watermark
        self._books = books
        self._role: Role = role
        self._admit = admit

    async def open_first(self) -> None:
        """The shard is open, or halted; else why it can not be opened is told and the start ends. Raises StartRefused.

        A gateway of a halted shard runs: the operator asks it what there is to decide, and `/readyz` keeps clients away.
        What passes by itself is waited for: another gateway that opens the shard, and a Redis whose replicas are not there yet.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + OPEN_WAIT_S
        waits_for = ""
        while True:
            try:
                await self.open(is_start=True)
                return
            except ShardHalted:
                return
            except (GatewayError, LedgerError) as problem:
                if isinstance(problem, HotStoreUnavailable) and NO_REPLICAS in problem.detail:
                    if not waits_for:
                        log.warning("start_waits", problem=problem.detail, seconds_max=OPEN_WAIT_S)
                    waits_for = problem.detail
                elif getattr(problem, "code", "") != "shard_recovering":
                    raise StartRefused(f"shard 0 can not be opened: {problem}") from problem
                if loop.time() > until_s:
                    raise StartRefused(f"shard 0 can not be opened: {waits_for or problem}") from problem
            await asyncio.sleep(0.2)

    async def open(self, *, is_start: bool = False) -> None:
        """The shard is open under the epoch that its row tells. Raises what `Opener.open` raises."""
        opener = self._opener
        await self._admit()
        try:
            row = await (opener.attach() if self._role == "web" else opener.open(is_start=is_start))
        except ShardHalted as halted:
            self._tell_halted(halted.detail)
            raise
        metrics.SHARDS_HALTED.set(0)
        ends = await self._ledger.epoch_ends(row.shard)
        self._books.ended_epochs = ends
        self._flusher.start_from(row)
        self._watermark.open_under(row.epoch, row.checkpoint, ends)

    async def step(self) -> int:
        """A closed shard is open again, and how much is not flushed is measured. Raises what `open` raises.

        A halted one is only looked at: whether its row still says so.
        """
        shard = self._shard
        if shard.is_open and shard.link.lineage == shard.lineage:
            metrics.HOT_PENDING.set(shard.link.pending)
            if (seq := await newest_seq(shard)) is None:
                shard.close()  # somebody took meta or the log away: the next turn opens the shard again
                return 1
            metrics.FLUSH_BACKLOG_EVENTS.set(max(seq - self._watermark.seq, 0))
            return 0
        if shard.halted_reason:
            if (await self._ledger.read_shard(shard.number)).is_halted:
                return 0
        else:
            log.warning("shard_closed", epoch=shard.epoch)
        shard.close()
        try:
            await self.open()
        except ShardHalted:
            return 0
        return 1

    def _tell_halted(self, reason: str) -> None:
        """Calls are answered with the reason, and the log has it once."""
        if not self._shard.halted_reason:
            log.error("shard_halted", reason=reason, mend="gateway repair --plan")
        self._shard.close(reason)
        metrics.SHARDS_HALTED.set(1)
