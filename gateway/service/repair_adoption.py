"""A Redis that is ahead of its database: which of the two is the truth, the operator decides, and this tells what each choice means."""

from __future__ import annotations

from typing import Final

from gateway.domain.counted import counted
from gateway.domain.repair import Adopt, HumanTask, Plan, Step
from gateway.durable.ledger import ShardRow
from gateway.hot.keys import Keys
from gateway.hot.meta import Meta
from gateway.hot.pages import key_pages
from gateway.hot.shard import Shard
from gateway.service.conservation_lives import public_id, read_place

KEYS_PAGE: Final = 500
NAMED_MAX: Final = 20
CHOOSE: Final = (
    "bring back a newer copy of the database, if there is one, and plan again; else choose: --adopt-redis where it is possible,"
    " or --adopt-database"
)


async def adoption(shard: Shard, row: ShardRow, meta: Meta, adopt: Adopt | None, *, is_continued: bool) -> Plan:
    """The plan for the choice, or what there is to choose between. `is_continued`: the log of Redis continues the books."""
    plan = Plan(row.shard, row.state, row.halted_reason, adopt=adopt)
    where = f"shard {row.shard}"
    lost = await _lost(shard, row, meta)
    redis_told = (
        f"its log leads from seq {row.checkpoint} to {meta.seq} without a gap, so nothing is lost"
        if is_continued
        else f"its log does not lead on from seq {row.checkpoint}, where the database ends, so what is between is in neither"
    )
    if adopt is None:
        choice = (
            f"--adopt-redis is {'possible' if is_continued else 'not possible'}: {redis_told}; --adopt-database: {lost}"
        )
        plan.for_human.append(HumanTask("choice", where, choice, CHOOSE))
    elif adopt == "redis" and not is_continued:
        plan.for_human.append(HumanTask("choice", where, f"--adopt-redis is not possible: {redis_told}", CHOOSE))
    else:
        if adopt == "redis":
            plan.steps.append(Step("redis_adopted", where, f"seq {row.checkpoint} → {meta.seq}", redis_told))
        else:
            change = f"epoch {meta.epoch}, seq {meta.seq} → the database's seq {row.checkpoint}"
            plan.steps.append(Step("redis_dropped", where, change, lost))
            told = "it takes over the books of the database, under an epoch above both"
            plan.steps.append(Step("redis_rebuilt", where, "dropped → as the durable store has it", told))
        if row.is_halted:
            plan.steps.append(Step("halt_lifted", where, "halted → open", row.halted_reason or "halted by hand"))
    return plan


async def _lost(shard: Shard, row: ShardRow, meta: Meta) -> str:
    """What Redis knows of reservations and the database does not."""
    base = f"{Keys(shard.prefix, shard.number, meta.generation).base}r:"
    made: list[str] = []
    sold = changed = 0
    async for keys in key_pages(shard, base, KEYS_PAGE):
        texts = await shard.ask_list("MGET", *keys) if keys else []
        for key, text in zip(keys, texts, strict=True):
            place = None if text is None else read_place(text)
            if text is None or place is None or place[1] <= row.checkpoint:
                continue
            if int(text.split("\t", 6)[5]) > row.checkpoint:
                made.append(public_id(shard.number, key.removeprefix(base), text))
                sold += place[0] in ("confirmed", "fulfilled")
            else:
                changed += 1
    named = ", ".join(sorted(made)[:NAMED_MAX]) + (", …" if len(made) > NAMED_MAX else "")
    still = counted(len(made), "reservation")
    return (
        f"what came after seq {row.checkpoint} is lost. Redis still has {still} made since, {sold} of them sold,"
        f" which will be answered as lost{': ' + named if made else ''};"
        f" and the changes since of {counted(changed, 'older one')} will be undone"
    )
