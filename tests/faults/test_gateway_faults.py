"""The gateway itself is killed or frozen while traffic flows."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from tests.faults.conftest import SiteOf

pytestmark = pytest.mark.faults


async def test_gateway_without_faults_keeps_the_laws(site_of: SiteOf) -> None:
    """The traffic alone: what the checker finds in the other scenarios comes from their faults."""
    site = site_of()

    async with site.running():
        await asyncio.sleep(6)

    await site.verdict()


async def test_gateway_killed_at_random_moments_loses_nothing(site_of: SiteOf, rng: random.Random) -> None:
    """kill -9, four times, and it comes back at once or after a moment: Redis has everything, so nothing is lost."""
    site = site_of()

    async def broken(_: int) -> None:
        await site.kill_gateway(0, rng.uniform(0, 0.5))

    await site.ordeal(rng, broken, range(4), (0.4, 2))

    await site.verdict()


async def test_two_gateways_on_the_same_stores_keep_the_laws(site_of: SiteOf) -> None:
    """Clients go to either of two gateways, also with resends and with the same reservation."""
    site = site_of(gateways=2)

    async with site.running():
        await asyncio.sleep(7)

    await site.verdict()


async def test_two_gateways_killed_in_turn_lose_nothing(site_of: SiteOf, rng: random.Random) -> None:
    """One is killed while the other goes on, and the other way round."""
    site = site_of(gateways=2)

    async def broken(at: int) -> None:
        await site.kill_gateway(at, rng.uniform(0, 1))

    await site.ordeal(rng, broken, (0, 1, 0), (0.4, 1.5))

    await site.verdict()


async def test_gateway_frozen_for_seconds_does_no_harm_when_it_wakes(site_of: SiteOf, rng: random.Random) -> None:
    """SIGSTOP at a random moment, seconds later SIGCONT; a second gateway on the same stores works all the while."""
    site = site_of(gateways=2)

    async def broken(_: int) -> None:
        site.gateways[0].signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(rng.uniform(2, 5))
        finally:
            site.gateways[0].signal(signal.SIGCONT)

    await site.ordeal(rng, broken, range(2), (0.5, 1.5))

    await site.verdict()
