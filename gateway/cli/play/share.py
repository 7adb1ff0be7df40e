"""Many invoices at a pace: open loop at a multiple of real time, or closed loop as fast as the gateway
answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gateway.cli.play.crowd import crowd
from gateway.cli.play.invoice import Play, clock
from gateway.cli.play.orders import Invoice
from gateway.cli.play.outcome import Outcome
from gateway.cli.play.plan import Plan
from gateway.cli.remote import connect


async def play_share(
    plan: Plan, invoices: Sequence[Invoice], first_seconds: float, tell: Callable[[Outcome], None]
) -> None:
    """Every invoice was played and told. `first_seconds` is the time of the file's first invoice: the
    beginning of the pace.

    At most `plan.concurrency` invoices are under way. With a speed each has an intended start, and its first
    latency counts from there: when the gateway, or this bound, makes an invoice late, that is seen and not
    hidden.

    Raises:
        RemoteFailed: the first failure; invoices under way were cut off and can be played again under the
            same keys.
    """
    begin = clock()
    # One iterator for all: between two awaits nobody else takes from it, and so invoices start in their
    # order.
    waiting = iter(invoices)

    async with connect(
        plan.url,
        plan.shop,
        key=plan.key,
        connections_max=plan.concurrency,
        patience_seconds=plan.patience_seconds,
    ) as remote:

        async def buyer() -> None:
            for invoice in waiting:
                intended = clock()
                if plan.speed:
                    intended = begin + (invoice.at_seconds - first_seconds) / plan.speed
                    await asyncio.sleep(max(0.0, intended - clock()))
                tell(await Play(remote, plan, invoice, intended).run())

        await crowd(min(plan.concurrency, len(invoices)), buyer)
