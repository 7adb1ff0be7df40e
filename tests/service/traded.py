"""A gateway with some history, what to damage of it, and the words of its operator."""

from __future__ import annotations

from gateway.domain.answer import ReservationAnswer
from gateway.domain.repair import Adopt, Plan, Repair
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway

REASON = "ticket 7"


class Traded:
    """A gateway with some history that is committed, and what to damage."""

    def __init__(self, gateway: Gateway, url: str, held: ReservationAnswer, sold: ReservationAnswer) -> None:
        self.gateway = gateway
        self.url = url
        self.held = held
        self.sold = sold

    async def sql(self, text: str) -> None:
        """The durable store is changed by hand."""
        await run_sql(self.url, text)

    async def level(self, sku: str, place: int, by: int) -> None:
        """A counter of Redis is changed by hand."""
        key = self.gateway.shard.keys.sku("main", sku)
        numbers = (await self.gateway.redis("HGET", key, "Lmain")).split(" ")
        numbers[place] = str(int(numbers[place]) + by)
        await self.gateway.redis("HSET", key, "Lmain", " ".join(numbers))

    async def plan(self, adopt: Adopt | None = None) -> Plan:
        """What a repair would do."""
        return await self.gateway.operations.plan_repair(adopt)

    async def apply(self, plan: Plan) -> Repair:
        """The plan is carried out, the gateway is open again where the shard is, and what it said of that is committed."""
        done = await self.gateway.operations.repair(plan.id, plan.adopt, REASON, "key:operator")
        if not self.gateway.shard.is_open:
            await self.gateway.keep()
        if self.gateway.shard.is_open:
            await self.gateway.flush()  # the check counts what Redis counts once it is committed
        return done

    async def repaired_events(self) -> list[tuple[str, str, str]]:
        """(type, actor, reason) of what repairs have told the log."""
        rows = await self.gateway.ledger.read_events(0, 0, 1000)
        heads = [row.payload.split("\n")[0].split("\t") for row in rows if row.type.endswith(".repaired")]
        return [(head[3], head[6], head[8]) for head in heads]
