"""The start stock: loaded under a sequence of its own, then read back as the base of the count."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping

import orjson

from gateway.cli.answer import RemoteFailed
from gateway.cli.play.level import LevelKey, LevelRead, StockRead, read_levels
from gateway.cli.play.orders import QUANTITY_MAX, Orders
from gateway.cli.play.plan import Plan
from gateway.cli.remote import Remote
from gateway.cli.upload import Upload

SHOWN_MAX = 5


class StartRefused(RemoteFailed):
    """The shop is not in a state from which a count can be exact; nothing was played."""


async def load_start(remote: Remote, plan: Plan, orders: Orders) -> dict[LevelKey, LevelRead]:
    """Each sku of the orders has its start stock at the run's location; returns every level of these skus,
    read back.

    A level may have stood before: on_hand is set absolutely, under the time in ms as the sequence, so a
    second run begins like the first. Units that are held or committed would end on their own during the run,
    so they are refused.

    Raises:
        StartRefused: units are held or committed, or the levels are not what was just loaded.
        Denied, GaveUp: as the calls.
    """
    units = {sku: plan.start_units(sold) for sku, sold in orders.sold().items()}
    for sku, number in units.items():
        if number > QUANTITY_MAX:
            raise StartRefused(
                f"the start stock of {sku} is {number}, and on_hand is at most {QUANTITY_MAX}; lower --stock"
            )
    _refuse_busy(plan, await read_levels(remote, units))

    rows = b"".join(
        orjson.dumps({"sku": sku, "location": plan.location, "on_hand": number}) + b"\n"
        for sku, number in units.items()
    )
    sequence = time.time_ns() // 1_000_000
    imported = await Upload(remote, "ndjson", plan.source, sequence).run(io.BytesIO(rows))
    if imported.rejected_count or imported.stale:
        reasons = "".join(f"; {reason}" for _, reason in imported.rejected[:SHOWN_MAX])
        raise StartRefused(
            f"of {len(units)} start levels {imported.rejected_count} were rejected and "
            f"{imported.stale} are stale (source {plan.source}, sequence {sequence}){reasons}"
        )

    read = await read_levels(remote, units)
    _refuse_busy(plan, read)
    _refuse_other(plan, units, read)
    return read.levels


def _refuse_busy(plan: Plan, read: StockRead) -> None:
    busy = [(key, level) for key, level in sorted(read.levels.items()) if level.held or level.committed]
    if busy:
        shown = ", ".join(
            f"{sku}/{location} held {level.held} committed {level.committed}"
            for (sku, location), level in busy[:SHOWN_MAX]
        )
        raise StartRefused(
            f"{len(busy)} levels of shop {plan.shop} have units held or committed, beginning with {shown}. "
            "They would move during the run and the count would not be exact: wait until the holds have "
            "expired, settle what is committed, or choose another --shop"
        )


def _refuse_other(plan: Plan, units: Mapping[str, int], read: StockRead) -> None:
    other = [sku for sku, number in units.items() if _on_hand(read, sku, plan.location) != number]
    if other:
        raise StartRefused(
            f"{len(other)} levels are not what was just loaded, beginning with "
            f"{', '.join(other[:SHOWN_MAX])}: does somebody else write to shop {plan.shop}?"
        )


def _on_hand(read: StockRead, sku: str, location: str) -> int | None:
    level = read.levels.get((sku, location))
    return None if level is None else level.on_hand
