"""The conservation check beside everything that buyers, sources and the clock do at once: it reports nothing that is not wrong."""

from __future__ import annotations

import asyncio
import contextlib
import random

from gateway.domain.errors import GatewayError
from gateway.domain.identifier import mint_random_part
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

SKUS = ("tee", "mug", "hat", "pen")
CHECKS = 20


async def test_conservation_under_traffic_reports_nothing_twenty_times(each_database: Stores) -> None:
    """Reserves, extends, sales, releases, counts that reflect, expiries, sweeps and reacquires run on; every check is silent."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    async with running(each_database) as gateway:
        for sku in SKUS:
            await gateway.put(sku, 100)
        is_over = False
        done = dict.fromkeys(("extend", "confirm", "reflect", "release", "expire", "reacquire"), 0)

        async def buyer() -> None:
            while not is_over:
                with contextlib.suppress(GatewayError):
                    done[await buy(gateway, rng)] += 1
                await asyncio.sleep(0)

        async def clock() -> None:
            while not is_over:
                await gateway.advance(300)
                await gateway.sweep()
                await asyncio.sleep(0.02)

        tasks = [asyncio.create_task(buyer()) for _ in range(6)] + [asyncio.create_task(clock())]
        number = 0
        try:
            # Also until everything was done once: how much a slow machine does beside a check is its own affair.
            while number < CHECKS or not all(done.values()):
                assert not any(task.done() for task in tasks)
                assert await gateway.violations() == [], number
                number += 1
        finally:
            is_over = True
            await asyncio.gather(*tasks)
        await gateway.flush()
        found = await gateway.operations.conservation()

        assert found.violations == []
        assert found.checked["reservations"] >= sum(done.values())
        assert found.checked["hot_reservations"] > 0
        held = await gateway.redis("ZCARD", gateway.shard.keys.due)
        assert (found.checked.get("hot_holds", 0) > 0) == (held > 0)


async def buy(gateway: Gateway, rng: random.Random) -> str:
    """One thing that a buyer may do, by its name."""
    skus = rng.sample(SKUS, rng.randint(1, 2))
    ending = rng.random()
    ttl_seconds = 1 if 0.35 <= ending < 0.5 else rng.choice([1, 2, 60])
    held = await gateway.reserve(*[(sku, rng.randint(1, 3)) for sku in skus], ttl_seconds=ttl_seconds)
    if ending < 0.2:
        await gateway.release(held)
        return "release"
    if ending < 0.35:
        await gateway.release(await gateway.extend(held, 90))
        return "extend"
    if ending < 0.5:
        for _ in range(500):
            if (await gateway.read(held)).reservation.state == "expired":
                break
            await asyncio.sleep(0.01)
        await gateway.confirm(held, reacquire=True, fulfil=True)
        await gateway.adjust(skus[0], 5, mint_random_part())
        return "reacquire"
    if ending < 0.7:
        sold = await gateway.confirm(held, ack=rng.choice(["memory", "durable"]))
        if rng.random() < 0.5:
            await gateway.release(sold)
            return "confirm"
        sequence = 2 + int(await gateway.redis("INCR", "counts-told"))
        await gateway.put(skus[0], 100, sequence=sequence, reflects=(str(sold.reservation.id),))
        return "reflect"
    if ending < 0.8:
        await gateway.fulfil(await gateway.confirm(held))
        await gateway.adjust(skus[0], 3, mint_random_part())
        return "confirm"
    return "expire"
