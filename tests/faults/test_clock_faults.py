"""Somebody sets the wall clock of Redis, of the gateway or of PostgreSQL while traffic flows, and sets it right again.

What a hold was promised is a length of time. The clients measure it by a clock that nobody sets (K9b), so they see a hold that ends
early and one that outlives its deadline, whatever the servers take for the time of day.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from gateway.domain.identifier import request_record
from gateway.embedded import PrivatePostgres, PrivateRedis
from tests.faults.clock import COMPILER, DAY_MS, HOUR_MS, JUMPS_MS, Clock, ClockedPostgres
from tests.faults.conftest import SiteOf
from tests.faults.redis_process import kill
from tests.faults.replicated import Replicated, until
from tests.faults.request import Request
from tests.faults.site import SHOP, Site
from tests.servers import redis_binary

# The clock is moved by a library that is compiled here: where nothing can be compiled, it waits for a host with tools.
pytestmark = pytest.mark.faults if COMPILER else pytest.mark.faults_root

#: By how much the shard's clock may be off while Redis' clock is: what nobody can tell from a slow second.
OFF_MS_MAX = 6_000
#: While a clock is wrong the work goes on.
COMMITTED_MIN = 5
WORKS_SECONDS_MAX = 15.0


@pytest.fixture
def clock(short_path: Path) -> Clock:
    """Shows what the host's shows, until a scenario sets it."""
    return Clock(short_path, "moved")


@pytest.fixture
def hot(short_path: Path, clock: Clock) -> Iterator[PrivateRedis]:
    """As in the other scenarios, with the clock that is moved; where the clock is another's, nobody moves this one."""
    server = PrivateRedis(short_path / "redis", redis_binary("valkey"), {"appendfsync": "always"})
    with Clock(short_path, "redis").given():
        server.start()
    yield server
    server.stop()


def committed_since(site: Site, since_s: float) -> int:
    """How many changes that were sent after the instant were answered as committed."""
    return sum(
        call.start_s > since_s and call.is_done and call.told.get("durable") is True for call in site.history.calls
    )


async def jumps(site: Site, clock: Clock, rng: random.Random, over: list[int]) -> None:
    """The clock was set wrong and right again, for each of the jumps, while traffic flowed."""

    async def broken(shift_ms: int) -> None:
        clock.set(shift_ms)
        set_s = time.monotonic()
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        while committed_since(site, set_s) < COMMITTED_MIN:
            assert time.monotonic() < set_s + WORKS_SECONDS_MAX, (
                f"no work is done with a clock that is {shift_ms} ms off"
            )
            await asyncio.sleep(0.05)
        clock.set(0)

    await site.ordeal(rng, broken, over, (0.2, 0.8))


async def test_gateway_clock_set_to_any_time_changes_nothing(site_of: SiteOf, clock: Clock, rng: random.Random) -> None:
    """The gateway's time of day decides nothing: by a second, an hour, a year."""
    site = site_of()
    site.gateways[0].settings |= clock.environment

    await jumps(site, clock, rng, rng.sample(JUMPS_MS, len(JUMPS_MS)))

    await site.verdict()


@pytest.fixture
def stored(short_path: Path, clock: Clock) -> Iterator[PrivatePostgres]:
    """A PostgreSQL with the clock that is moved."""
    server = ClockedPostgres(short_path / "postgres", clock)
    server.start()
    yield server
    server.stop()


async def test_postgres_clock_set_to_any_time_changes_nothing(
    site_of: SiteOf, stored: PrivatePostgres, clock: Clock, rng: random.Random
) -> None:
    """The durable store's time of day decides nothing, either."""
    site = site_of(url=stored.url)

    await jumps(site, clock, rng, rng.sample(JUMPS_MS, len(JUMPS_MS)))

    await site.verdict()


@pytest.mark.parametrize("shift_ms", JUMPS_MS)
async def test_redis_clock_set_to_any_time_neither_ends_holds_nor_keeps_them(
    site_of: SiteOf, hot: PrivateRedis, short_path: Path, rng: random.Random, shift_ms: int
) -> None:
    """Redis' clock is the one that judges deadlines: a jump of it is not believed, forwards or backwards."""
    site = site_of()
    site.clock_off_ms = OFF_MS_MAX
    with redis.Redis.from_url(hot.url) as client:
        before = client.time()[0]

    await jumps(site, moved := Clock(short_path, "redis"), rng, [shift_ms])

    moved.set(shift_ms)
    with redis.Redis.from_url(hot.url) as client:
        assert abs(client.time()[0] - before - shift_ms / 1000) < 60, "the clock is not the one that was moved"
    moved.set(0)
    await site.verdict()


async def test_key_used_before_redis_clock_jumped_by_days_is_remembered(
    site_of: SiteOf, hot: PrivateRedis, short_path: Path, rng: random.Random
) -> None:
    """Every record with a life ends by such a jump at once; a retry finds what the first call did all the same."""
    site = site_of()
    site.clock_off_ms = OFF_MS_MAX
    moved = Clock(short_path, "redis")
    body = {"delta": 5, "reason": "count", "reference": "retried"}
    retried = Request("adjust", body, key="retried", subject="kept/main", ack="durable")
    record = request_record(SHOP, "adjust", "retried")

    async def broken(shift_ms: int) -> None:
        async with site.client("retrier") as client:
            put = Request("put", {"source": "retrier", "sequence": 1, "on_hand": 7}, subject="kept/main", ack="durable")
            await client.send(put, site.addresses[0], seconds=5)
            first = await client.send(retried, site.addresses[0], seconds=5)
            with redis.Redis.from_url(hot.url, decode_responses=True) as server:
                await until(lambda: any(server.pttl(name) > 0 for name in server.scan_iter(f"*:q:{record}")), 10)
            moved.set(shift_ms)
            again = await client.send(retried, site.addresses[0], attempt=2, seconds=5)
            for attempt in range(3, 100):
                if again.is_done:
                    break
                await asyncio.sleep(0.05)  # until somebody has told of the jump every call seems late
                again = await client.send(retried, site.addresses[0], attempt=attempt, seconds=5)
            moved.set(0)
        assert first.is_done
        assert (again.is_done, again.answer is not None and again.answer.is_replayed, again.told["on_hand"]) == (
            True,
            True,
            12,
        )

    await site.ordeal(rng, broken, [2 * DAY_MS], (0.2, 0.8))

    await site.verdict()


@pytest.mark.parametrize("shift_ms", [HOUR_MS, -HOUR_MS])
async def test_replica_with_another_clock_promoted_neither_ends_holds_nor_keeps_them(
    short_path: Path, site_of: SiteOf, clock: Clock, rng: random.Random, shift_ms: int, pair: Replicated
) -> None:
    """The primary is killed, and the one that takes over has another time of day, until somebody sets it right."""
    async with pair.watched():
        site = site_of(gateways=2, redis_way=pair.url)
        site.redis = pair.primary
        site.is_hot_lost = True
        site.clock_off_ms = OFF_MS_MAX
        clock.set(shift_ms)

        async def broken(_: int) -> None:
            kill(pair.primary)
            await pair.promoted()
            await asyncio.sleep(rng.uniform(1.5, 3))
            clock.set(0)

        await site.ordeal(rng, broken, range(1), (1, 2))

        site.redis = pair.primary
        await site.verdict()


@pytest.fixture
def pair(short_path: Path, clock: Clock) -> Iterator[Replicated]:
    """A primary whose clock is right, and a replica with the one that is moved."""
    replicated = Replicated(short_path, redis_binary("valkey"))
    with ExitStack() as stack:
        stack.callback(replicated.stop)
        primary, replica = replicated.ports
        primary.start()
        with clock.given():
            replica.start()
        yield replicated
