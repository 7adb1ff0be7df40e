"""The network splits: a gateway and the old primary on one side, all else on the other. Needs root, for network namespaces."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from gateway.embedded import PrivateRedis
from tests.acceptance.gateways import COMMAND, Gateway
from tests.faults.conftest import USUAL, SiteOf
from tests.faults.network import Network, network
from tests.faults.replicated import Replicated, digests_after, seq_of
from tests.faults.way import way_to
from tests.servers import redis_binary

pytestmark = pytest.mark.faults_root


@pytest.fixture
def sides() -> Iterator[Network]:
    """Two sides that reach each other."""
    with network() as made:
        yield made


@pytest.fixture
def pair(short_path: Path, sides: Network) -> Iterator[Replicated]:
    """The primary on the far side, its replica on the near one; so are the sentinels, with `watched`."""
    binary = redis_binary(USUAL)
    hosts = (sides.far_host, sides.near_host)
    replicated = Replicated(short_path, binary, hosts=hosts, far=sides.far_binary(binary, short_path))
    try:
        replicated.start_servers()
        yield replicated
    finally:
        replicated.stop()


@pytest.fixture
def hot(pair: Replicated) -> PrivateRedis:
    """The primary at the start."""
    return pair.primary


async def test_network_split_leaves_the_old_primary_without_effect(
    site_of: SiteOf, pair: Replicated, sides: Network, postgres_url: str, rng: random.Random
) -> None:
    """A gateway and the primary are cut off from the sentinels, the replica, the database and the other gateway.

    They go on with what needs no commit; the others go on at the replica. Together again, nothing of it was committed, and the
    holds that only they knew are told as lost.
    """
    parts = urlsplit(postgres_url)
    async with pair.watched(), way_to(parts.port or 5432, host=sides.near_host) as stored:
        site = site_of(gateways=2, redis_way=pair.url)
        site.is_hot_lost = True
        login = parts.netloc.rpartition("@")[0]
        far_url = urlunsplit(parts._replace(netloc=f"{login}@{sides.near_host}:{stored.port}"))
        near = site.gateways[0]
        settings = near.settings | {"GATEWAY_DATABASE_URL": far_url}
        site.gateways[0] = Gateway(near.folder, settings, (*sides.far_command, *COMMAND))
        undone: set[str] = set()

        async def broken(_: int) -> None:
            old, before = pair.primary, seq_of(pair.primary)
            sides.split()
            await pair.promoted()
            await site.ready_at(1)
            epoch, _ = await site.committed()
            await asyncio.sleep(rng.uniform(1, 3))
            undone.update(digests_after(old, before) - (await site.committed())[1])
            sides.join()
            await site.ready()
            await asyncio.sleep(2)
            assert (await site.committed())[0] == epoch, "the gateway that was cut off raised the epoch"

        with sides.door(int(settings["GATEWAY_PORT"])):
            await site.ordeal(rng, broken, range(1), (1, 2))

            print(f"{len(undone)} entries of the primary that was cut off")
            assert undone, "the gateway that was cut off did nothing: this run proves nothing"
            assert undone.isdisjoint((await site.committed())[1])
            site.redis = pair.primary
            await site.verdict()
