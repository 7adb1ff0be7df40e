"""Several things break at once, or one while the last one is not over."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal

import pytest

from gateway.embedded import PrivateRedis
from tests.durable.cutting_proxy import Cut, cutting_proxy
from tests.faults.conftest import SiteOf
from tests.faults.redis_process import empty, files, kill, restarted

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("loss", ["emptied", "restarted"])
async def test_gateway_frozen_across_an_epoch_does_no_harm(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random, loss: str
) -> None:
    """One gateway is frozen, Redis loses everything, the other one opens a new epoch; then the first one wakes up."""
    site = site_of(gateways=2)
    site.is_hot_lost = True

    async def broken(frozen: int) -> None:
        site.gateways[frozen].signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(rng.uniform(0, 0.3))
            if loss == "emptied":
                empty(hot)
            else:
                kill(hot)
                shutil.rmtree(files(hot))
                await restarted(hot)
            await asyncio.sleep(rng.uniform(1, 3))
        finally:
            site.gateways[frozen].signal(signal.SIGCONT)
        await asyncio.sleep(0.5)

    await site.ordeal(rng, broken, (0, 1), (0.5, 1.5))

    await site.verdict()


async def test_gateway_killed_while_the_shard_is_opened_again_does_no_harm(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """Redis loses everything, and the gateway is killed within the next moments, anywhere in its recovery."""
    site = site_of()
    site.is_hot_lost = True

    async def broken(_: int) -> None:
        empty(hot)
        await asyncio.sleep(rng.uniform(0, 0.4))
        await site.kill_gateway(0, 0)

    await site.ordeal(rng, broken, range(3), (0.4, 1.2))

    await site.verdict()


async def test_redis_lost_while_commits_are_cut_off_keeps_what_was_durable(
    site_of: SiteOf, hot: PrivateRedis, postgres_url: str, rng: random.Random
) -> None:
    """COMMITs vanish on the way, and in the middle of it Redis loses everything that waits for them."""
    async with cutting_proxy(postgres_url) as (proxy, way):
        site = site_of(postgres_way=way)
        site.is_hot_lost = True

        async def broken(cut: Cut) -> None:
            proxy.cut = cut
            await asyncio.sleep(rng.uniform(0.1, 0.6))
            empty(hot)
            await asyncio.sleep(rng.uniform(0, 0.6))
            proxy.cut = "never"
            await asyncio.sleep(0.5)

        await site.ordeal(rng, broken, ("before", "after"), (0.4, 1.2))

        assert proxy.cuts > 0
        await site.verdict()


async def test_any_faults_in_any_order_keep_the_laws(
    site_of: SiteOf, hot: PrivateRedis, postgres_url: str, rng: random.Random
) -> None:
    """Two gateways, and every second or so one or two things break at random: killed, frozen, emptied, restarted, cut off."""
    async with cutting_proxy(postgres_url) as (proxy, way):
        site = site_of(gateways=2, postgres_way=way)
        site.is_hot_lost = True

        async def broken(fault: str) -> None:
            at = rng.randrange(2)
            if fault == "kill a gateway":
                await site.kill_gateway(at, rng.uniform(0, 0.5))
            elif fault == "freeze a gateway":
                site.gateways[at].signal(signal.SIGSTOP)
                await asyncio.sleep(rng.uniform(0.5, 2))
                site.gateways[at].signal(signal.SIGCONT)
            elif fault == "empty Redis":
                empty(hot)
                await asyncio.sleep(0.5)
            elif fault == "kill Redis":
                kill(hot)
                await restarted(hot)
            else:
                proxy.cut = rng.choice(["before", "after"])
                await asyncio.sleep(rng.uniform(0.1, 1))
                proxy.cut = "never"

        kinds = ["kill a gateway", "freeze a gateway", "empty Redis", "kill Redis", "cut commits"]
        async with site.running():
            for _ in range(4):
                await asyncio.sleep(rng.uniform(0.3, 1))
                faults = [rng.choice(kinds)]
                if rng.random() < 0.4 and faults[0] not in {"empty Redis", "kill Redis"}:
                    faults.append(rng.choice(["empty Redis", "kill Redis"]))
                print(" and ".join(faults))
                async with site.trouble():
                    await asyncio.gather(*map(broken, faults))
            await asyncio.sleep(1)

        await site.verdict()
