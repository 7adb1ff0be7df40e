"""The wire between gateway and Redis loses answers while traffic flows, or the one before the gateway brings requests twice."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from pathlib import Path

import pytest

from gateway.embedded import PrivateRedis
from tests.app.lossy import lossy_wire
from tests.faults.conftest import SiteOf
from tests.faults.echo import Echo, EchoingClient

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("one_in", [100, 15])
async def test_answers_of_redis_lost_change_nothing_twice(
    site_of: SiteOf, hot: PrivateRedis, short_path: Path, rng: random.Random, one_in: int
) -> None:
    """One in so many answers is lost, and the connection with it: what was sent again is recognised."""
    async with lossy_wire(hot.url, short_path, rng) as (wire, way):
        site = site_of(redis_way=way)

        async def broken(_: int) -> None:
            wire.lose(one_in)
            await asyncio.sleep(rng.uniform(0.5, 1.5))
            wire.lose(0)

        await site.ordeal(rng, broken, range(3), (0.3, 0.8))

        assert wire.lost > 0
        await site.verdict()


async def test_two_gateways_one_of_which_loses_answers_keep_the_laws(
    site_of: SiteOf, hot: PrivateRedis, short_path: Path, rng: random.Random
) -> None:
    """One gateway is behind the lossy wire, the other beside it; clients resend to either."""
    async with lossy_wire(hot.url, short_path, rng) as (wire, way):
        site = site_of(gateways=2)
        site.gateways[0].settings["GATEWAY_REDIS_URL"] = way

        async def broken(_: int) -> None:
            wire.lose(25)
            await asyncio.sleep(rng.uniform(0.5, 1.5))
            wire.lose(0)

        await site.ordeal(rng, broken, range(3), (0.3, 0.8))

        assert wire.lost > 0
        await site.verdict()


@pytest.mark.parametrize("gateways", [1, 2])
async def test_requests_that_arrive_twice_and_late_have_one_effect(site_of: SiteOf, seed: str, gateways: int) -> None:
    """Each request comes one to three times, over different connections, out of order, some when its sender has long given up."""
    site, echo = site_of(gateways=gateways), Echo(seed)
    site.traffic.client = partial(EchoingClient, echo=echo)

    async with site.running():
        await asyncio.sleep(8)
    await echo.end()

    print(", ".join(f"{count} {how}" for how, count in echo.counts.items()))
    assert min(echo.counts.values()) > 0
    await site.verdict()
