"""Repairing a shard: looked through and planned while sales go on, done behind a raised epoch, and told in the log.

What is done is what was planned, or nothing: behind the fence the plan is made anew and compared. Each step may be the last
one before the process dies. What was committed until then is right, an unfinished repair of a halted shard leaves it halted,
any other shard is opened again as after a crash; and the repair, asked for again, does what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from gateway.domain.errors import Corrupt, InvalidRequest, ShardRecovering
from gateway.domain.repair import Adopt, Plan, Repair, Step
from gateway.durable.ledger import ShardRow
from gateway.flush.batches import build_batch
from gateway.hot.library import ensure_library
from gateway.hot.log import Entry
from gateway.hot.meta import Meta, read_meta, shut
from gateway.service.conservation import Audit, Survey, survey_durable
from gateway.service.conservation_findings import Findings
from gateway.service.conservation_totals import sums
from gateway.service.halting import TOTALS_DIFFER, ahead
from gateway.service.opening import OWNER_LEASE_MS, Opener
from gateway.service.repair_adoption import adoption
from gateway.service.repair_books import LOG_DAMAGE, Fixes, find_fixes, log_tasks
from gateway.service.repair_entry import Circumstances, repair_entries
from gateway.service.tail import commit_tail, reaches
from gateway.service.verdict import durable_read

log = structlog.get_logger(__name__)

#: What is wrong with Redis alone: rebuilding it is all that there is to do.
HOT_DAMAGE: Final = frozenset({"drift", "lost", "unknown", "unindexed", "orphan", "due"})
NAMED_MAX: Final = 20
#: A meta that names an epoch so far ahead was written by hand: each epoch until it would be one that ended.
EPOCHS_AHEAD_MAX: Final = 100_000


@dataclass(slots=True)
class _Look:
    """A plan, and what it was made from."""

    plan: Plan
    row: ShardRow
    survey: Survey | None
    hot: list[str]
    fixes: Fixes


@dataclass(slots=True)
class _Fenced:
    """A shard that is ours alone: its row, what meta says for good, and the tail that was committed."""

    raised: ShardRow
    meta: Meta | None
    tail: list[Entry]
    keeps_redis: bool


class Repairer(Opener):
    """Repairs one shard, as an opener of its own: the row of the shard lets one at a time. Make one for each repair."""

    async def plan(self, audit: Audit, adopt: Adopt | None) -> Plan:
        """What there is to do. Nothing has changed.

        Raises:
            InvalidRequest: there is nothing to adopt.
            ShardRecovering, DurableStoreUnavailable, HotStoreUnavailable: nothing can be told now; plan again.
        """
        return (await self._look(audit, adopt)).plan

    async def apply(self, audit: Audit, plan_id: str, adopt: Adopt | None, reason: str, actor: str) -> Repair:
        """The steps of the plan with this id were done; or nothing was, because there is another plan by now.

        Raises what `plan` raises, and ShardRecovering when another repair or opening was quicker.
        """
        look = await self._look(audit, adopt)
        if look.plan.id != plan_id or not look.plan.steps:
            return Repair(False, look.plan, look.row.epoch)
        try:
            return await self._applied(look, adopt, reason, actor)
        finally:
            await self._claim.end()

    async def _applied(self, look: _Look, adopt: Adopt | None, reason: str, actor: str) -> Repair:
        """The plan was done, if it still is the plan behind the fence. Raises as `apply`."""
        plan_id = look.plan.id
        fenced = await self._fence(look.row, adopt)
        again = await self._look_again(look)
        if again.plan.id != plan_id or (adopt == "redis" and not fenced.keeps_redis):
            await self._leave(fenced, look.row)
            return Repair(False, again.plan, fenced.raised.epoch)
        end_seq = (await self._ledger.read_shard(self._shard.number)).checkpoint
        await self._tell(fenced.raised, again.fixes, reason, actor)
        kinds = {step.kind for step in again.plan.steps}
        if "totals_recounted" in kinds:
            await self._recount(fenced.raised)
        must_rebuild = "redis_rebuilt" in kinds
        row = await self._reopen(fenced, keeps_redis=fenced.keeps_redis and not must_rebuild, end_seq=end_seq)
        log.warning("shard_repaired", epoch=row.epoch, plan=plan_id, steps=len(again.plan.steps), reason=reason)
        return Repair(True, again.plan, row.epoch)

    async def _look(self, audit: Audit, adopt: Adopt | None) -> _Look:
        meta = await read_meta(self._shard)
        row = await durable_read(self._ledger.read_shard(self._shard.number))
        self._refuse_foreign(meta)
        if meta is not None and ahead(row, meta):
            if meta.epoch - row.epoch > EPOCHS_AHEAD_MAX:
                raise Corrupt(f"Redis names epoch {meta.epoch}, which nobody gave: delete {self._shard.keys.meta}")
            is_continued = not meta.is_poisoned and await self._is_continued(row, meta)
            if row.is_halted or not is_continued:
                plan = await adoption(self._shard, row, meta, adopt, is_continued=is_continued)
                return _Look(plan, row, None, [], Fixes([], []))
        if adopt is not None:
            message = "is for a Redis that is ahead of its database, and this one is not"
            raise InvalidRequest(errors=[{"field": "adopt", "message": message}])
        if row.is_halted:
            survey = await survey_durable(self._ledger, row.shard, Findings(), None)
        else:
            survey = await audit.survey()
        found = survey.findings.violations
        hot = [f"{one['kind']} {one['where']}: {one['detail']}" for one in found if _is_hot(one)]
        if row.is_halted and str(row.halted_reason).startswith(TOTALS_DIFFER):
            hot.append(str(row.halted_reason))  # which of the two stores is wrong is not known
        return await self._planned(row, survey, hot)

    async def _look_again(self, look: _Look) -> _Look:
        """As the first look, of the shard that nobody changes any more: only what came since is read."""
        if look.survey is None:
            return look
        survey = look.survey
        survey.books = await durable_read(self._ledger.read_books(self._shard.number))
        await survey.history.replay(survey.books.shard)
        return await self._planned(look.row, survey, look.hot)

    async def _planned(self, row: ShardRow, survey: Survey, hot: list[str]) -> _Look:
        found = survey.findings.violations
        plan = Plan(row.shard, row.state, row.halted_reason, for_human=log_tasks(found))
        fixes = Fixes([], [])
        if not any(one["kind"] in LOG_DAMAGE for one in found):
            fixes, tasks = await find_fixes(self._ledger, survey.books, survey.history, survey.wrong)
            plan.for_human += tasks
            plan.steps += [*fixes.steps, *_totals_step(row.shard, survey)]
        where = f"shard {row.shard}"
        if hot or plan.steps:
            reasons = [*hot[:NAMED_MAX], *([f"and {len(hot) - NAMED_MAX} more"] if len(hot) > NAMED_MAX else [])]
            told = "; ".join(reasons) or "it takes over what is corrected in the durable store"
            plan.steps.append(Step("redis_rebuilt", where, "as it is → as the durable store has it", told))
        if row.is_halted:
            plan.steps.append(Step("halt_lifted", where, "halted → open", row.halted_reason or "halted by hand"))
        return _Look(plan, row, survey, hot, fixes)

    async def _fence(self, row: ShardRow, adopt: Adopt | None) -> _Fenced:
        """Nobody else writes to the shard, in either store, and what was in the log is committed unless it is given up."""
        shard, ledger = self._shard, self._ledger
        await ensure_library(shard)
        await shard.verify()
        meta = await read_meta(shard)
        raised = await ledger.raise_epoch(
            row.shard, row.epoch, self._owner, OWNER_LEASE_MS, by_operator=True, above=meta.epoch if meta else 0
        )
        if raised is None:
            raise ShardRecovering("another gateway is opening or repairing the shard; plan again")
        self._claim.begin(raised.epoch)
        if meta is not None and meta.seen_epoch:
            await shut(shard, meta)
            meta = await read_meta(shard)  # what was written until then
        if meta is None or adopt == "database":
            return _Fenced(raised, meta, [], keeps_redis=False)
        tail = await self._tail(raised, generation=meta.generation)
        # Totals that differ are what there may be to repair: the levels are put right first, and then counted.
        await commit_tail(ledger, self._halting, self._owner, raised, meta, tail, self._claim.keep, is_compared=False)
        is_sound = not meta.is_poisoned and not self._is_broken and reaches(tail, raised, meta)
        return _Fenced(raised, meta, tail, keeps_redis=is_sound)

    async def _leave(self, fenced: _Fenced, before: ShardRow) -> None:
        """The shard is as it was before the fence: halted again, or open again."""
        if before.is_halted:
            await self._ledger.halt(before.shard, fenced.raised.epoch, before.halted_reason or "by hand")
            return
        end_seq = (await self._ledger.read_shard(before.shard)).checkpoint
        await self._reopen(fenced, keeps_redis=fenced.keeps_redis, end_seq=end_seq)

    async def _tell(self, raised: ShardRow, fixes: Fixes, reason: str, actor: str) -> None:
        """The repair is in the durable log, and what it puts right is in the tables, an entry at a time."""
        row = await self._ledger.read_shard(raised.shard)
        digest = row.digest
        circumstances = Circumstances(raised.epoch, await self._clock_ms(), actor, reason)
        for entry in repair_entries(row.checkpoint, row.digest, fixes, circumstances):
            batch = await build_batch(raised.shard, raised.epoch, digest, [entry])
            if not await self._ledger.append(batch, owner=self._owner):
                raise ShardRecovering("another gateway has overtaken the repair; plan again")
            digest = entry.digest

    async def _recount(self, raised: ShardRow) -> None:
        if not await self._ledger.recount(raised.shard, raised.epoch, self._owner):
            raise ShardRecovering("another gateway has overtaken the repair; plan again")

    async def _reopen(self, fenced: _Fenced, *, keeps_redis: bool, end_seq: int) -> ShardRow:
        """The shard is open under the raised epoch, and what was before it ended at `end_seq`."""
        row, meta, lineage = await self._ledger.read_shard(self._shard.number), fenced.meta, self._shard.link.lineage
        if not keeps_redis or meta is None:
            return await self._rebuild(row, meta, fenced.tail, lineage, is_counted=False, end_seq=end_seq)
        await self._install(row, meta, meta.generation, lineage, -1, "adopted")
        return await self._publish(row, meta.generation, 0, fenced.tail, end_seq)

    async def _clock_ms(self) -> int:
        """What the shard's clock says."""
        shard = self._shard
        seconds, micros = await shard.ask_list("TIME")
        clock = await shard.ask("HGET", shard.keys.meta, "clock")
        return max(int(seconds) * 1000 + int(micros) // 1000, int(str(clock or 0)))


def _is_hot(violation: dict[str, object]) -> bool:
    """Whether it is in Redis alone."""
    return violation["kind"] in HOT_DAMAGE or (
        violation["kind"] == "totals" and str(violation["where"]).startswith("redis")
    )


def _totals_step(shard: int, survey: Survey) -> list[Step]:
    """The durable totals are to be what the levels add up to, which the corrections before do not change."""
    books = survey.books
    off = [
        f"{name} {counted - summed:+d}"
        for name, counted, summed in books.shard.totals.against(sums(books.levels.values()))
    ]
    if not off:
        return []
    told = ", ".join(off)
    return [Step("totals_recounted", f"shard {shard}", f"{told} → 0", "the levels add up to something else", told)]
