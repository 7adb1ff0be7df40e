"""Redis is killed, restarted with or without its file, or emptied while traffic flows."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import pytest
import redis

from gateway.embedded import PrivateRedis
from tests.faults.conftest import SiteOf
from tests.faults.redis_process import cut_tail, empty, files, forget, kill, put_back, restarted

pytestmark = pytest.mark.faults


async def test_redis_killed_with_its_file_loses_nothing(site_of: SiteOf, hot: PrivateRedis, rng: random.Random) -> None:
    """kill -9 at random moments, three times: the file has every change that was answered."""
    site = site_of()

    async def broken(_: int) -> None:
        kill(hot)
        await asyncio.sleep(rng.uniform(0, 0.8))
        await restarted(hot)

    await site.ordeal(rng, broken, range(3), (0.4, 1.5))

    await site.verdict()


async def test_redis_killed_with_a_file_of_each_second_tells_what_it_lost(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """As before with `appendfsync everysec`: a write may wait for the disk, so a hold may be lost, and is then told as lost."""
    site = site_of(gateways=2)
    site.is_hot_lost = True
    with redis.Redis.from_url(hot.url) as client:
        client.config_set("appendfsync", "everysec")

    async def broken(_: int) -> None:
        kill(hot)
        await restarted(hot)

    await site.ordeal(rng, broken, range(2), (0.4, 1.5))

    await site.verdict()


@pytest.mark.parametrize(("gateways", "times"), [(1, 3), (2, 2)])
async def test_redis_emptied_under_load_keeps_what_was_durable(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random, gateways: int, times: int
) -> None:
    """FLUSHALL at random moments: sales stay, holds that were not durable are told as lost, nothing is sold twice.

    Of two gateways one opens the shard again, the other joins in.
    """
    site = site_of(gateways=gateways)
    site.is_hot_lost = True

    async def broken(_: int) -> None:
        empty(hot)
        await asyncio.sleep(0.5)  # the keeper looks five times a second

    await site.ordeal(rng, broken, range(times), (0.5, 1.5))

    await site.verdict()


async def test_redis_restarted_without_its_files_keeps_what_was_durable(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """kill -9, its file is deleted, and it starts empty, twice."""
    site = site_of()
    site.is_hot_lost = True

    async def broken(_: int) -> None:
        kill(hot)
        shutil.rmtree(files(hot))
        await restarted(hot)

    await site.ordeal(rng, broken, range(2), (0.5, 1.5))

    await site.verdict()


@pytest.mark.parametrize("name", ["meta", "log"])
async def test_redis_without_a_key_of_the_shard_keeps_what_was_durable(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random, name: str
) -> None:
    """Somebody deletes a key that the shard lives on: it is noticed, and the shard is opened again."""
    site = site_of()
    site.is_hot_lost = True

    async def broken(_: int) -> None:
        forget(hot, name)
        await asyncio.sleep(0.5)

    await site.ordeal(rng, broken, range(2), (0.5, 1.5))

    await site.verdict()


async def test_redis_without_the_tail_of_its_file_keeps_what_was_durable(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """kill -9, and the last bytes of the file are gone: the end of the last entry, or many entries."""
    site = site_of()
    site.is_hot_lost = True

    async def broken(size: int) -> None:
        kill(hot)
        cut_tail(hot, size)
        await restarted(hot)

    await site.ordeal(rng, broken, (rng.randint(1, 200), rng.randint(200, 20_000)), (0.5, 1.5))

    await site.verdict()


async def test_redis_with_an_old_file_keeps_what_was_durable(
    site_of: SiteOf, hot: PrivateRedis, short_path: Path, rng: random.Random
) -> None:
    """kill -9, and it starts with its file of a second ago: numbers that are taken must not be given again."""
    site = site_of(gateways=2)
    site.is_hot_lost = True

    async with site.running():
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        shutil.copytree(files(hot), short_path / "old")
        await asyncio.sleep(rng.uniform(0.1, 1.5))
        async with site.trouble():
            kill(hot)
            put_back(hot, short_path / "old")
            await restarted(hot)
        await asyncio.sleep(1)

    await site.verdict()
