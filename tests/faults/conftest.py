"""The seed of a run, and deployments to break. FAULT_SEED sets the seed that a failure has printed."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.embedded import PrivateRedis
from tests.faults.site import Site
from tests.servers import redis_binary

SEED_VARIABLE = "FAULT_SEED"
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


@pytest.fixture
def hot(short_path: Path) -> Iterator[PrivateRedis]:
    """A Redis of this scenario alone whose file has every change before its answer, so that kill -9 loses none."""
    server = PrivateRedis(short_path / "redis", redis_binary("valkey"), {"appendfsync": "always"})
    server.start()
    yield server
    server.stop()


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
