"""Operations: is it ready, what policy is in force, do the books add up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.domain.answer import Conservation, Readiness
from gateway.domain.errors import InvalidRequest
from gateway.domain.halt import halted_with_advice
from gateway.domain.policy import PolicyBook
from gateway.domain.repair import Adopt, Plan, Repair
from gateway.durable.ledger import Ledger, LedgerUnavailable
from gateway.flush.watermark import Watermark
from gateway.hot.posture import Posture
from gateway.hot.shard import Shard
from gateway.service.conservation import Audit
from gateway.service.repairing import Repairer
from gateway.service.verdict import durable_read
from gateway.settings import SettingsInvalid


class OperationsService:
    """What an operator and a load balancer ask."""

    def __init__(
        self,
        shard: Shard,
        ledger: Ledger,
        watermark: Watermark,
        book: PolicyBook,
        posture: Posture,
        advice: list[str],
        problems: Callable[[], list[str]],
        reloaded: Callable[[], None],
        tell_metrics: Callable[[], Awaitable[bytes]],
        clock_warnings: Callable[[], list[str]],
        new_repairer: Callable[[], Repairer],
    ) -> None:
        """`problems` are those of the background jobs, a sentence each; `reloaded` is called after a reload that was asked for here."""
        self._shard = shard
        self._ledger = ledger
        self._watermark = watermark
        self._book = book
        self._posture = posture
        self._advice = advice
        self._problems = problems
        self._reloaded = reloaded
        self._tell_metrics = tell_metrics
        self._clock_warnings = clock_warnings
        self._new_repairer = new_repairer
        self._repairs: set[asyncio.Task[Repair]] = set()

    async def readiness(self) -> Readiness:
        """Whether a reserve and a confirm would be answered now, check by check."""
        shard = self._shard
        is_connected = await shard.link.wait_connected(0.05)
        found = self._posture.judgement
        redis: dict[str, object] = {"ok": is_connected and not found.refusals, "server": found.server}
        if not is_connected:
            redis["problem"] = "not connected"
        elif found.refusals:
            redis["problem"] = "; ".join(found.refusals)
        warnings = [*found.warnings, *self._clock_warnings()]
        if warnings:
            redis["warnings"] = warnings
        durable: dict[str, object] = {"ok": True}
        try:
            await self._ledger.ping()
        except LedgerUnavailable:
            durable = {"ok": False, "problem": "the durable store does not answer"}
        if self._advice:
            durable["warnings"] = self._advice
        # After a new connection to another server the shard is as good as closed: the next call finds that out.
        is_open = shard.is_open and shard.link.lineage == shard.lineage
        shards: dict[str, object] = {"ok": is_open, "open": int(is_open), "epoch": shard.epoch}
        if not is_open:
            shards["problem"] = "shard 0 is closed"
        if shard.halted_reason:
            shards["problem"] = halted_with_advice(shard.halted_reason, "shard 0")
        problems = self._problems()
        flusher: dict[str, object] = {"ok": not problems, "checkpoint": self._watermark.seq}
        if problems:
            flusher["problem"] = ", ".join(problems)
        checks = {"redis": redis, "durable": durable, "shards": shards, "flusher": flusher}
        return Readiness(all(bool(check["ok"]) for check in checks.values()), checks)

    async def shards(self) -> list[dict[str, object]]:
        """Each shard as its row in the durable store has it."""
        row = await durable_read(self._ledger.read_shard(self._shard.number))
        return [
            {
                "shard": row.shard,
                "state": row.state,
                "halted_reason": row.halted_reason,
                "epoch": row.epoch,
                "generation": row.generation,
                "checkpoint": row.checkpoint,
                "owner": row.owner,
            }
        ]

    async def plan_repair(self, adopt: Adopt | None) -> Plan:
        """What a repair would do. Nothing has changed."""
        return await self._new_repairer().plan(self._audit(), adopt)

    async def repair(self, plan_id: str, adopt: Adopt | None, reason: str, actor: str) -> Repair:
        """The plan was carried out; or nothing was done, because it is another one by now.

        It goes on to its end when who asked for it has left. The shard is opened here again by the keeper, in a moment.
        """
        task = asyncio.create_task(self._new_repairer().apply(self._audit(), plan_id, adopt, reason, actor))
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)
        done = await asyncio.shield(task)
        if done.epoch != self._shard.epoch:
            self._shard.close()
        return done

    def _audit(self) -> Audit:
        return Audit(self._shard, self._ledger, self._watermark)

    async def conservation(self) -> Conservation:
        """The law checked between Redis, the durable levels, the open reservations and the event log, without stopping sales."""
        return await self._audit().run()

    async def metrics(self) -> bytes:
        """The metrics in Prometheus' text format, of all workers where there are several."""
        return await self._tell_metrics()

    def policy(self) -> dict[str, object]:
        """The tiers, limits and thresholds in force, their source and version."""
        return self._book.description()

    def reload(self) -> dict[str, object]:
        """The policy after re-reading the configuration.

        Raises InvalidRequest with every error; the old one then stays.
        """
        try:
            done = self._book.reload()
        except SettingsInvalid as problem:
            errors = [{"field": key, "message": message} for key, message in problem.errors]
            raise InvalidRequest("the configuration is not valid; the old one stays", errors=errors) from problem
        self._reloaded()
        return {**self._book.description(), "changed": done.is_changed, "needs_restart": done.ignored}
