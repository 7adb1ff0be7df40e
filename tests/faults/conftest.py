"""The seed of a run, and deployments to break. FAULT_SEED sets the seed that a failure has printed."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gateway.embedded import PrivateRedis
from tests.faults.replicated import Replicated
from tests.faults.site import Site
from tests.servers import redis_binary, redis_ids

SEED_VARIABLE = "FAULT_SEED"
#: Debian's server where there is one: the same binary is what most sentinels in the world are.
USUAL = "redis7" if "redis7" in redis_ids() else "valkey"
SiteOf = Callable[..., Site]


@pytest.fixture
def seed() -> str:
    """What everything random of this run comes from; printed, so that a failure names it."""
    chosen = os.environ.get(SEED_VARIABLE) or secrets.token_hex(4)
    print(f"{SEED_VARIABLE}={chosen}")
    return chosen


@pytest.fixture
def rng(seed: str) -> random.Random:
    """When and what breaks."""
    return random.Random(f"nemesis-{seed}")


def shuffled(rng: random.Random, kinds: Sequence[str]) -> list[str]:
    """All of them, in an order of this run: what the ones before have left behind is part of what each one meets."""
    return rng.sample(kinds, len(kinds))


@pytest.fixture
def hot(short_path: Path) -> Iterator[PrivateRedis]:
    """A Redis of this scenario alone whose file has every change before its answer, so that kill -9 loses none."""
    server = PrivateRedis(short_path / "redis", redis_binary("valkey"), {"appendfsync": "always"})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server_id() -> str:
    """Whose binary the servers and sentinels are."""
    return USUAL


@pytest.fixture
def pair(short_path: Path, server_id: str) -> Iterator[Replicated]:
    """Two servers of this scenario alone, running; the sentinels come with `watched`."""
    replicated = Replicated(short_path, redis_binary(server_id))
    try:
        replicated.start_servers()
        yield replicated
    finally:
        replicated.stop()


@pytest.fixture
def site_of(short_path: Path, seed: str, hot: PrivateRedis, postgres_url: str) -> Iterator[SiteOf]:
    """Makes the deployment of this scenario; `site_of(gateways=2)`. Its gateways are ended after it."""
    made: list[Site] = []

    def make(*, url: str = "", **options: object) -> Site:
        made.append(Site(short_path, seed, hot, url or postgres_url, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for site in made:
        site.close()
