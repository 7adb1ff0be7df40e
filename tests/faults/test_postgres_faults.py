"""PostgreSQL is killed, or the way to it is cut, while traffic flows."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gateway.embedded import PrivatePostgres, ServerFailed
from tests.durable.cutting_proxy import Cut, cutting_proxy
from tests.faults.conftest import SiteOf

pytestmark = pytest.mark.faults

#: A server whose parent was killed holds its shared memory until its last child has noticed.
STARTS_MAX: Final = 5


@pytest.fixture
def stored(short_path: Path) -> Iterator[PrivatePostgres]:
    """A PostgreSQL of this scenario alone."""
    server = PrivatePostgres(short_path / "postgres", "wheel", fsync=False)
    server.start()
    yield server
    server.stop()


async def restarted(server: PrivatePostgres) -> None:
    """It takes connections again, at another port."""
    for attempt in range(1, STARTS_MAX + 1):
        try:
            server.start()
        except ServerFailed:
            if attempt == STARTS_MAX:
                raise
            await asyncio.sleep(0.3)
        else:
            return


async def test_postgres_killed_loses_nothing_that_was_answered(
    site_of: SiteOf, stored: PrivatePostgres, rng: random.Random
) -> None:
    """kill -9 of the server, twice: sales wait or are told as unknown, holds go on, and all is there when it returns."""
    async with cutting_proxy(stored.url) as (proxy, way):
        site = site_of(url=stored.url, postgres_way=way)

        async def broken(_: int) -> None:
            assert stored.pid is not None
            os.kill(stored.pid, signal.SIGKILL)
            await asyncio.sleep(rng.uniform(0.3, 1.5))
            await restarted(stored)
            proxy.lead_to(stored.url)
            site.postgres_url = stored.url

        await site.ordeal(rng, broken, range(2), (0.5, 1.5))

        await site.verdict()


@pytest.mark.parametrize("cut", ["before", "after", "silence"])
async def test_commits_cut_off_happen_once_or_not(
    site_of: SiteOf, postgres_url: str, rng: random.Random, cut: Cut
) -> None:
    """COMMIT does not arrive, or its answer does not, or the connection falls silent: again and again, for a moment each."""
    async with cutting_proxy(postgres_url) as (proxy, way):
        site = site_of(postgres_way=way)

        async def broken(_: int) -> None:
            proxy.cut = cut
            await asyncio.sleep(rng.uniform(0.2, 1.0))
            proxy.cut = "never"

        await site.ordeal(rng, broken, range(3), (0.3, 1.0))

        assert proxy.cuts > 0
        await site.verdict()
