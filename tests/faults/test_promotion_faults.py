"""Somebody promotes the replica by hand, with REPLICAOF NO ONE, while traffic flows; later the old primary, and so back."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import pytest

from gateway.embedded import PrivateRedis
from tests.faults.conftest import SiteOf, shuffled
from tests.faults.replicated import Replicated, digests_after, freeze, seq_of, thaw
from tests.faults.way import way_to

pytestmark = pytest.mark.faults

#: What becomes of the primary that was: one of them on the way there, the other on the way back.
OLD: Final = ("cut off", "made its replica")


@pytest.fixture
def hot(pair: Replicated) -> PrivateRedis:
    """The primary at the start."""
    return pair.primary


async def test_replica_promoted_by_hand_and_sentinels_told_keeps_the_laws(
    site_of: SiteOf, pair: Replicated, rng: random.Random
) -> None:
    """A to B and B to A, each to a replica that lags. The old primary stands still, and the sentinels come to it by themselves;
    or it is made a replica of the new one, and they are told."""
    async with pair.watched():
        site = site_of(gateways=2, redis_way=pair.url)
        site.is_hot_lost = True

        async def broken(old: str) -> None:
            (epoch, _), before = await site.committed(), pair.primary
            await pair.lag(rng)
            if old == "cut off":
                freeze(before)
                pair.promote()
                await pair.promoted()
            else:
                pair.promote()
                await asyncio.sleep(rng.uniform(0, 0.5))  # two primaries, and nobody knows
                pair.turn()
                await pair.follow()
                pair.tell_sentinels()
            thaw(before)
            await site.reopened(epoch)
            await pair.follow()

        await site.ordeal(rng, broken, shuffled(rng, OLD), (1, 2))

        site.redis = pair.primary
        await site.verdict()


async def test_server_swapped_behind_its_address_keeps_the_laws(
    site_of: SiteOf, pair: Replicated, rng: random.Random
) -> None:
    """The gateways have one plain address. By hand the replica is promoted and the address led to it, and back again.

    For a moment both are primaries, and the old one takes writes that the new one never had. It stands still afterwards, or is
    made a replica.
    """
    async with pair.followed(), way_to(pair.ports[pair.primary]) as front:
        site = site_of(gateways=2, redis_way=f"redis://127.0.0.1:{front.port}")
        site.is_hot_lost = True
        undone: set[str] = set()

        async def broken(old: str) -> None:
            epoch, _ = await site.committed()
            await pair.lag(rng)
            pair.promote()
            had = seq_of(pair.replica)
            await asyncio.sleep(rng.uniform(0, 0.5))  # two primaries, and the gateways are with the old one
            front.is_closed = True
            await front.end()
            undone.update(digests_after(pair.primary, had))
            before, front.to = pair.primary, pair.ports[pair.replica]
            pair.turn()
            if old == "cut off":
                freeze(before)
            else:
                await pair.follow()
            front.is_closed = False
            await site.reopened(epoch)
            thaw(before)
            await pair.follow()

        await site.ordeal(rng, broken, shuffled(rng, OLD), (1, 2))

        print(
            f"{len(undone)} entries that only an old primary had, {len(undone & (await site.committed())[1])} of them committed in time"
        )
        site.redis = pair.primary
        await site.verdict()
