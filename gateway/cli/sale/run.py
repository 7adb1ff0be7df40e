"""One sale from the first sku to the verdict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from gateway.cli.answer import RemoteFailed
from gateway.cli.play.invoice import clock
from gateway.cli.remote import NO_ANSWER, connect
from gateway.cli.sale.arrivals import arrive
from gateway.cli.sale.buyer import Buyer, Stage
from gateway.cli.sale.crowd_member import member
from gateway.cli.sale.figures import Figures
from gateway.cli.sale.goods import Cleared, Goods
from gateway.cli.sale.inquest import Inquest
from gateway.cli.sale.place import describe_gateway, describe_machine
from gateway.cli.sale.plan import Plan
from gateway.cli.sale.promises import Promises
from gateway.cli.sale.result import Result
from gateway.cli.sale.watch import Watch

#: From the end of the preparations to the first buyer, so that the first one is not late.
START_SECONDS = 0.2
TICK_SECONDS = 0.02
#: What a gateway says, or does not say, while it or its hot store is away.
AWAY_CODES = frozenset({NO_ANSWER, "shard_recovering", "hot_store_unavailable"})


async def run(plan: Plan, watch: Watch) -> Result:
    """The sale was played, compared with the books, and cleaned up unless it is to be kept.

    Raises:
        RemoteFailed: it could not be begun or played to its end. What it had made is cleaned up then, too, as far as the gateway
            answers; so it is when the task is cancelled.
    """
    figures = Figures(clock())
    promises = Promises(plan.skus, plan.units, plan.ttl_seconds)

    def on_repeat(code: str) -> None:
        figures.repeat(code)
        if code in AWAY_CODES:
            promises.disturbed()

    async with connect(
        plan.url,
        plan.shop,
        key=plan.key,
        connections_max=plan.connections,
        patience_seconds=plan.patience_seconds,
        on_repeat=on_repeat,
    ) as remote:
        await remote.probe()
        gateway = await describe_gateway(remote)
        goods = Goods(remote, plan)
        sale = Sale(Stage(remote, plan, promises, figures), goods, watch)
        cleared: Cleared | None = None
        try:
            result = await sale.play(gateway)
        finally:
            if not plan.is_kept:
                watch.step("cleaning up")
                cleared = await goods.clear(promises.holds)
                for words in cleared.failures[:5]:
                    watch.step(f"not cleaned up: {words}")
        result.cleared = cleared
        return result


class Sale:
    """The steps between making the skus and clearing them."""

    def __init__(self, stage: Stage, goods: Goods, watch: Watch) -> None:
        self._stage = stage
        self._goods = goods
        self._watch = watch

    async def play(self, gateway: dict[str, str]) -> Result:
        """All buyers have come and gone, and the books were asked.

        Raises:
            RemoteFailed: the skus could not be made, or an answer is not one of this service.
        """
        plan, figures, watch = self._stage.plan, self._stage.figures, self._watch
        machine = describe_machine()
        watch.step(f"making {plan.skus:,} skus with {plan.units:,} units each, flashsale-{plan.run}-1 and so on")
        await self._goods.make()
        began_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        watch.step(f"{plan.buyers:,} buyers come")
        figures.start = clock() + START_SECONDS
        async with beside(self._goods.watch(figures), tick(figures), watch.show(figures)):
            await arrive(plan, figures.start, self._buyer)
        seconds = max(0.0, clock() - figures.start)
        watch.step("comparing with the books")
        inquest = Inquest(self._stage, self._goods)
        failure = ""
        try:
            await inquest.run()
        except RemoteFailed as exc:
            failure = str(exc)
        return Result(plan, began_at, seconds, figures, inquest.verdict, machine, gateway, failure=failure)

    async def _buyer(self, number: int, intended: float) -> None:
        await Buyer(self._stage, member(self._stage.plan, number), intended).run()


async def tick(figures: Figures) -> None:
    """Measures how late this process wakes up, until it is cancelled."""
    while True:
        due = clock() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        figures.loop_lag.add(max(0.0, clock() - due))


@asynccontextmanager
async def beside(*jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """The endless jobs run as long as the block; one that failed is told when it ends."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        # A cancelled one is no Exception, only a BaseException.
        if isinstance(outcome, Exception):
            raise outcome
