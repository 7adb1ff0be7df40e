"""The gateway dies, or stands still, at exactly one point of its work, while traffic flows. The points are in `armed.py`."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Final

import asyncpg
import pytest
import redis

from gateway.embedded import PrivateRedis
from tests.faults.armed import ALL, AT_OPENING, AT_WORK, COMMAND, POINTS, passed
from tests.faults.conftest import SiteOf
from tests.faults.gateway_process import arm, at_point, disarm, first_change_s, restart
from tests.faults.redis_process import empty, forget, kill, restarted
from tests.faults.remains import nothing_remains
from tests.faults.site import Site

#: A flusher that is frozen in its transaction holds the shard's row for the 3 s that the server lets it.
TAKEOVER_SECONDS_MAX: Final = 6.0
#: Passings of a point while the stock is set up are not traffic yet; those of traffic come by the dozen per second.
NTH: Final = (14, 60)
TRIES_MAX: Final = 12
#: Below the two seconds after which a flusher gives the row up, and long enough for some changes.
UNCOMMITTED_SECONDS: Final = 0.5


def poison(server: PrivateRedis) -> None:
    """The shard says of itself that a script broke off: what is in the log is committed, and all is built anew."""
    with redis.Redis.from_url(server.url) as client:
        client.hset("{rg0}:meta", "poison", "a test")


def lose_meta(server: PrivateRedis) -> None:
    """Somebody deletes the key that says what the others are."""
    forget(server, "meta")


async def restart_redis(server: PrivateRedis) -> None:
    """kill -9, with a file that has everything: what Redis holds is adopted."""
    kill(server)
    await restarted(server)


#: What makes a gateway open the shard again, so that it comes by the point.
CAUSES: Final[dict[str, list[Callable[[PrivateRedis], object]]]] = {
    "raised": [empty, lose_meta, poison, restart_redis],
    "tail": [poison, restart_redis],
    "rebuild": [empty, lose_meta, poison],
    "install": [empty, lose_meta, poison, restart_redis],
    "publish": [empty, lose_meta, poison, restart_redis],
    "forget": [lose_meta, poison],
}
#: At its first start a gateway opens a shard of which there is nothing: there is no tail, and no generation to forget.
FIRST: Final = {"tail": 1, "forget": 1}


@asynccontextmanager
async def nothing_committed(site: Site) -> AsyncIterator[None]:
    """Inside, the shard's row is somebody else's: what comes stands in the log alone. At the beginning some of it does."""
    connection = await asyncpg.connect(site.postgres_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM shards FOR UPDATE")
            # The batch that waits for the row is committed when it is free; what came behind it is the tail.
            await asyncio.sleep(UNCOMMITTED_SECONDS)
            yield
    finally:
        await connection.close()


async def open_until_at_point(site: Site, hot: PrivateRedis, point: str, rng: random.Random) -> None:
    """The first gateway, which is armed, is at its point: the shard was closed until it came by."""
    for _ in range(TRIES_MAX):
        cause = rng.choice(CAUSES[point])
        print(f"{point}: {cause.__name__}")
        async with nothing_committed(site) if point == "tail" else nullcontext():
            done = cause(hot)
            if asyncio.iscoroutine(done):
                await done
        if await at_point(site.gateways[0], 3):
            return
    raise AssertionError(f"the gateway never came by {point}:\n{site.gateways[0].log[-3000:]}")


async def die_and_come_back(
    site: Site, hot: PrivateRedis, point: str, die: Callable[[], Awaitable[None]], *, after_seconds: float = 0.0
) -> None:
    """Under traffic the first gateway, which is armed to kill itself, dies by `die` and is started again: everything is there."""
    async with site.running():
        await asyncio.sleep(after_seconds)
        async with site.trouble():
            await die()
            died_s = time.monotonic()
            started_s = await restart(site.gateways[0])
        await asyncio.sleep(1)

    print(f"{point}: started in {started_s:.1f} s, first change {first_change_s(site, died_s):.1f} s after its death")
    await site.verdict()
    await nothing_remains(hot.url)


@pytest.mark.faults
@pytest.mark.parametrize("point", AT_WORK)
async def test_gateway_killed_at_a_point_of_its_work_loses_nothing(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random, point: str
) -> None:
    """It kills itself there at some passing and comes back: everything is there, nothing twice, and nothing is left behind."""
    site = site_of(command=COMMAND)
    arm(site.gateways[0], point, rng.randint(*NTH), "kill")

    async def die() -> None:
        assert await at_point(site.gateways[0]), f"it never came by {point}"

    await die_and_come_back(site, hot, point, die)


@pytest.mark.faults
@pytest.mark.parametrize("point", AT_OPENING)
async def test_gateway_killed_at_a_point_of_an_opening_keeps_what_was_durable(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random, point: str
) -> None:
    """Redis loses something, and the gateway that opens the shard again kills itself there: the next start opens it."""
    site = site_of(command=COMMAND)
    site.is_hot_lost = True
    arm(site.gateways[0], point, FIRST.get(point, 2), "kill")

    async def die() -> None:
        await open_until_at_point(site, hot, point, rng)

    await die_and_come_back(site, hot, point, die, after_seconds=rng.uniform(0.5, 1.5))


@pytest.mark.faults
async def test_gateway_killed_while_it_drains_loses_nothing(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """SIGTERM under traffic, and it kills itself when all is answered and nothing of the rest is flushed."""
    site = site_of(command=COMMAND)
    arm(site.gateways[0], "drain", 1, "kill")

    async def die() -> None:
        site.gateways[0].signal(signal.SIGTERM)
        assert await at_point(site.gateways[0]), "it never came to flush the rest"

    await die_and_come_back(site, hot, "drain", die, after_seconds=rng.uniform(0.5, 2))


@pytest.mark.faults
@pytest.mark.parametrize(("point", "gateways"), [(point, 3 if point in {"gate", "commit"} else 2) for point in AT_WORK])
async def test_gateway_frozen_at_a_point_of_its_work_is_overtaken(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random, point: str, gateways: int
) -> None:
    """It stands still there, the others commit within seconds, also where it holds the shard's row, and it wakes into their world."""
    site = site_of(command=COMMAND, gateways=gateways)
    arm(site.gateways[0], point, rng.randint(*NTH), "stop")

    async with site.running():
        async with site.trouble():
            assert await at_point(site.gateways[0]), f"it never came by {point}"
            frozen_s = time.monotonic()
            seen, _ = await site.progress()
            while (await site.progress())[0] <= seen:
                assert time.monotonic() < frozen_s + TAKEOVER_SECONDS_MAX, "nobody else commits"
                await asyncio.sleep(0.02)
            took_s = time.monotonic() - frozen_s
            await asyncio.sleep(rng.uniform(0, 2))
            site.gateways[0].signal(signal.SIGCONT)
        await asyncio.sleep(1)

    print(f"{point}: another of {gateways} gateways committed {took_s:.1f} s after the freeze")
    await site.verdict()
    await nothing_remains(hot.url)


@pytest.mark.faults
@pytest.mark.parametrize("point", AT_OPENING)
async def test_gateway_frozen_at_a_point_of_an_opening_is_overtaken(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random, point: str
) -> None:
    """It stands still while it opens the shard, another gateway opens it under a later epoch, and it wakes into that."""
    site = site_of(command=COMMAND, gateways=2)
    site.is_hot_lost = True
    opener, other = site.gateways
    arm(opener, point, FIRST.get(point, 2), "stop")

    async with site.running():
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        async with site.trouble():
            other.signal(signal.SIGSTOP)  # so that it is the armed one that opens
            try:
                await open_until_at_point(site, hot, point, rng)
            finally:
                other.signal(signal.SIGCONT)
            frozen_s = time.monotonic()
            await site.ready_at(1)
            took_s = time.monotonic() - frozen_s
            await asyncio.sleep(rng.uniform(0, 1.5))
            opener.signal(signal.SIGCONT)
        await asyncio.sleep(1)

    print(f"{point}: the other gateway was ready {took_s:.1f} s after the freeze")
    await site.verdict()
    await nothing_remains(hot.url)


async def test_crash_points_are_all_there_and_passed(site_of: SiteOf, hot: PrivateRedis, rng: random.Random) -> None:
    """A gateway under traffic, whose shard is opened again, comes by each of them: none is the name of what is gone."""
    site = site_of(command=COMMAND)
    gateway = site.gateways[0]
    arm(gateway, ALL, 1, "tell")
    told = ""

    async with site.running():
        end_s = time.monotonic() + 60
        while {point for point in POINTS if passed(point, 1) not in told} != {"drain"}:
            assert time.monotonic() < end_s, [point for point in POINTS if passed(point, 1) not in told]
            await asyncio.sleep(0.5)
            poison(hot)
            await site.ready()
            told = gateway.log
        disarm(gateway)
        site.gateways[0].signal(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.wait, 30) == 0, gateway.log[-3000:]
        told = gateway.log
        await asyncio.to_thread(gateway.start)

    assert [point for point in POINTS if passed(point, 1) not in told] == []
