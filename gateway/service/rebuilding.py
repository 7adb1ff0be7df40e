"""Rebuilding: what the durable store knows to be open is written under the names of a new generation, which nobody reads yet."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from gateway.domain.errors import Corrupt
from gateway.domain.reservation import HELD, parse_reservation
from gateway.durable.ledger import Ledger
from gateway.hot.keys import Keys
from gateway.hot.operations import sku_fields
from gateway.hot.shard import Shard

PAGE = 1000


@dataclass(slots=True)
class Rebuilt:
    """How much was written."""

    holds: int = 0
    skus: int = 0


async def rebuild(shard: Shard, keys: Keys, ledger: Ledger) -> Rebuilt:
    """Every open hold and every sku with units held is under `keys`; deadlines are as they were.

    The caller owns the shard's row, so the durable store does not move meanwhile.

    Raises Corrupt when the holds of a level do not add up to what it counts as held: such books are not opened.
    """
    rebuilt = Rebuilt()
    held: Counter[tuple[str, str, str]] = Counter()
    next_due: dict[tuple[str, str], int] = {}
    await clear(shard, keys)  # an earlier attempt of the same epoch may have left something
    async for page in ledger.live_reservations(shard.number, PAGE):
        commands: list[tuple[str | int, ...]] = []
        for random_part, packed in page:
            reservation = parse_reservation(shard.number, random_part, packed)
            if reservation.state != HELD:
                continue
            rebuilt.holds += 1
            commands.append(("SET", keys.reservation(random_part), packed))
            for line in reservation.lines:
                place = (reservation.shop, line.sku)
                held[reservation.shop, line.sku, line.location] += line.quantity
                next_due[place] = min(next_due.get(place, reservation.deadline_ms), reservation.deadline_ms)
                commands.append(("ZADD", keys.holds(*place), reservation.deadline_ms, random_part))
        await _all(shard, commands)
    async for skus in ledger.skus_with_holds(shard.number, PAGE):
        commands = []
        for sku in skus:
            for level in sku.levels.values():
                counted = held.pop((sku.shop, sku.sku, level.location), 0)
                if counted != level.held:
                    raise Corrupt(
                        f"level {sku.shop}/{sku.sku}/{level.location} counts {level.held} held, its reservations {counted}"
                    )
            due = next_due.get((sku.shop, sku.sku))
            if due is None:
                continue  # only sold units: it loads when it is wanted
            rebuilt.skus += 1
            fields = sku_fields(sku, next_due_ms=due, has_ttl=False)
            commands.append(("HSET", keys.sku(sku.shop, sku.sku), *fields))
            commands.append(("ZADD", keys.due, due, f"{sku.shop}/{sku.sku}"))
        await _all(shard, commands)
    if held:
        raise Corrupt(f"{len(held)} levels have holds but count none held, the first is {next(iter(held))}")
    return rebuilt


async def _all(shard: Shard, commands: list[tuple[str | int, ...]]) -> None:
    await asyncio.gather(*[shard.ask(*command) for command in commands])


async def clear(shard: Shard, keys: Keys) -> None:
    """Nothing is under the generation's names any more; they were dropped a page at a time."""
    cursor = "0"
    while True:
        cursor, names = await shard.scan(cursor, f"{keys.base}*", PAGE)
        if names:
            await shard.ask("UNLINK", *names)
        if cursor == "0":
            return
