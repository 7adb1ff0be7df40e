"""The disk under the append-only file of Redis is full while traffic flows. Needs root, for a file system of a few MB."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gateway.embedded import PrivateRedis
from tests.faults.conftest import USUAL, SiteOf
from tests.faults.redis_process import restarted
from tests.faults.replicated import client_of, until
from tests.faults.window import Window
from tests.servers import redis_binary

pytestmark = pytest.mark.faults_root

DISK_BYTES: Final = 8 * 1024 * 1024


@pytest.fixture
def fsync() -> str:
    """When the file is written through."""
    return "always"


@pytest.fixture
def hot(short_path: Path, fsync: str) -> Iterator[PrivateRedis]:
    """A Redis whose folder is a small disk: it moves its first file from there to where the others are."""
    server = PrivateRedis(short_path / "redis", redis_binary(USUAL), {"appendfsync": fsync})
    disk = server.folder
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", disk], check=True)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        subprocess.run(["umount", disk], check=True)


def fill(disk: Path, rng: random.Random) -> None:
    """There is no byte left."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(rng.randbytes(65_536))
        except OSError:
            return


def make_room(disk: Path) -> None:
    """There is room again."""
    (disk / "filler").unlink()


@pytest.mark.parametrize("fsync", ["everysec"])
async def test_full_disk_of_redis_is_refused_and_heals_by_itself(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """appendfsync everysec: MISCONF, so nothing happens and everybody is told so; once there is room all goes on."""
    site = site_of()

    async def broken(_: int) -> None:
        with client_of(hot) as client:
            fill(hot.folder, rng)
            await until(lambda: client.info("persistence")["aof_last_write_status"] == "err", 20)
            window = Window(site.history)
            await asyncio.sleep(rng.uniform(1, 2))
            await window.until(lambda: window.told("reserve")["hot_store_unavailable", "not_applied"])
            window.close()
            make_room(hot.folder)
            await until(lambda: client.info("persistence")["aof_last_write_status"] == "ok", 20)
        print(f"with a full disk: {dict(window.told())}")
        assert window.done("reserve", "release", "put", "adjust") == 0
        assert {outcome for code, outcome in window.told() if code == "hot_store_unavailable"} == {"not_applied"}

    await site.ordeal(rng, broken, range(2), (1, 2))

    await site.verdict()


async def test_redis_that_ends_because_its_disk_is_full_loses_nothing_that_was_answered(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """appendfsync always: the process ends before it answers what it could not write; started with room it has all the rest."""
    site = site_of()

    async def broken(_: int) -> None:
        fill(hot.folder, rng)
        await until(lambda: not hot.is_running, 20)
        assert hot.exit_code == 1
        make_room(hot.folder)
        await asyncio.sleep(rng.uniform(0, 0.8))
        await restarted(hot)

    await site.ordeal(rng, broken, range(2), (1, 2))

    await site.verdict()
