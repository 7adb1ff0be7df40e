"""The primary is killed, frozen or replaced while traffic flows, and real sentinels promote a replica that lags behind."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack

import pytest

from gateway.embedded import PrivateRedis
from tests.faults.conftest import SiteOf
from tests.faults.redis_process import kill
from tests.faults.replicated import DOWN_AFTER_SECONDS, Replicated, digests_after, freeze, seq_of, thaw
from tests.faults.site import Site
from tests.faults.way import way_to
from tests.servers import redis_ids

pytestmark = pytest.mark.faults

SALE_SECONDS_MAX = DOWN_AFTER_SECONDS + 5
#: A failover by hand has nothing to wait for. The old primary goes on for longer: nobody tells it for 8 s that it is a replica.
FAILOVER_SECONDS_MAX = 6.0


@pytest.fixture
def hot(pair: Replicated) -> PrivateRedis:
    """The primary at the start."""
    return pair.primary


def first_sale_s(site: Site, since_s: float) -> float:
    """Seconds until the first confirm that was sent after the instant had succeeded."""
    sold = [
        call.end_s - since_s
        for call in site.history.calls
        if call.operation == "confirm" and call.is_done and call.start_s > since_s
    ]
    return min(sold, default=float("inf"))


@pytest.mark.parametrize("server_id", [one for one in redis_ids() if one != "given"])
@pytest.mark.parametrize("gateways", [1, 2])
async def test_primary_killed_its_lagging_replica_takes_over(
    site_of: SiteOf, pair: Replicated, rng: random.Random, gateways: int
) -> None:
    """kill -9 under load: the shard goes on at the replica, what it missed is in the durable store or told as lost, and sales
    go on within seconds."""
    async with pair.watched():
        site = site_of(gateways=gateways, redis_way=pair.url)
        site.is_hot_lost = True
        killed_s = 0.0

        async def broken(_: int) -> None:
            nonlocal killed_s
            await pair.lag(rng)
            killed_s = time.monotonic()
            kill(pair.primary)
            await pair.promoted()

        await site.ordeal(rng, broken, range(1), (1, 2))

        site.redis = pair.primary
        await site.verdict()
    took_s = first_sale_s(site, killed_s)
    print(f"first sale {took_s:.1f} s after the kill, down-after {DOWN_AFTER_SECONDS:.0f} s")
    assert took_s <= SALE_SECONDS_MAX


async def test_primary_frozen_and_woken_up_changes_nothing(
    site_of: SiteOf, pair: Replicated, rng: random.Random
) -> None:
    """SIGSTOP until the replica has taken over, then SIGCONT: what the old primary does then is neither committed nor kept.

    One gateway is cut off from the sentinels together with it, and waits long for answers: it goes on working there, until the
    durable store refuses; the epoch it may not raise.
    """
    async with pair.watched(), AsyncExitStack() as stack:
        ways = [await stack.enter_async_context(way_to(port)) for port in pair.sentinel_ports]
        site = site_of(gateways=2, redis_way=pair.url)
        site.is_hot_lost = True
        site.gateways[1].settings |= {
            "GATEWAY_REDIS_URL": pair.url_by([way.port for way in ways]),
            "GATEWAY_REDIS__COMMAND_TIMEOUT_MS": "30000",
        }
        undone: set[str] = set()
        epochs: list[int] = []

        async def broken(_: int) -> None:
            old = pair.primary
            for way in ways:
                way.is_closed = True
            before = seq_of(old)
            frozen_s = time.monotonic()
            freeze(old)
            await pair.promoted()
            await site.ready_at(0)
            _, digests_before_thaw = await site.committed()
            thaw(old)
            await asyncio.sleep(rng.uniform(0.3, 1))
            epoch, _ = await site.committed()
            undone.update(digests_after(old, before) - digests_before_thaw)
            await asyncio.sleep(2)
            epochs.extend([epoch, (await site.committed())[0]])
            for way in ways:
                way.is_closed = False
            print(f"first sale {first_sale_s(site, frozen_s):.1f} s after the freeze")

        await site.ordeal(rng, broken, range(1), (1, 2))

        print(f"{len(undone)} entries of the woken primary")
        assert undone, "the old primary did nothing after it woke up: this run proves nothing"
        assert len(set(epochs)) == 1, "the gateway that is cut off raised the epoch"
        assert undone.isdisjoint((await site.committed())[1])
        site.redis = pair.primary
        await site.verdict()


async def test_failover_by_hand_there_and_back_keeps_the_laws(
    site_of: SiteOf, pair: Replicated, rng: random.Random
) -> None:
    """SENTINEL FAILOVER, A to B and B to A, each to a replica that lags; the old primary takes writes for seconds more."""
    async with pair.watched():
        site = site_of(gateways=2, redis_way=pair.url)
        site.is_hot_lost = True

        async def broken(_: int) -> None:
            await pair.lag(rng)
            (epoch, _), ordered_s = await site.committed(), time.monotonic()
            await pair.order_failover()
            await pair.promoted()
            while (await site.committed())[0] == epoch:
                assert time.monotonic() - ordered_s < FAILOVER_SECONDS_MAX, "the gateways stay at the old primary"
                await asyncio.sleep(0.05)
            await site.ready()
            print(f"ready under a new epoch {time.monotonic() - ordered_s:.1f} s after the order")
            await pair.follow()

        await site.ordeal(rng, broken, range(2), (1, 2))

        site.redis = pair.primary
        await site.verdict()
