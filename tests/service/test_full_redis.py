"""Redis has no memory left: what was sold goes on to its end, also from the durable store, and a gateway may start again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.app.refusal import StartRefused
from gateway.domain.command import BatchCommand, Fulfil, Release, Reserve, Wish
from gateway.domain.errors import HotStoreUnavailable
from gateway.embedded import PrivateRedis
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


@pytest.fixture
async def cold(mortal_redis: PrivateRedis, sqlite_url: str) -> AsyncIterator[Gateway]:
    """A gateway on a server of its own, which may be filled; the flusher turns when told to."""
    async with running(Stores(mortal_redis.url, sqlite_url), is_flushing=False) as gateway:
        yield gateway
        await gateway.redis("CONFIG", "SET", "maxmemory", 0)


async def fill(gateway: Gateway) -> None:
    """The server has less memory than it uses: commands that need more are refused."""
    await gateway.redis("CONFIG", "SET", "maxmemory", 1)


async def forget(gateway: Gateway) -> None:
    """All lives are over: what can be read from the durable store is in Redis no more."""
    await gateway.flush()
    for key in await gateway.keys("*"):
        if await gateway.redis("PTTL", key) > 0:
            await gateway.redis("DEL", key)


async def test_full_redis_lets_cold_sales_come_to_their_end(cold: Gateway) -> None:
    """Sales that Redis had let go of are loaded and fulfilled, released, confirmed again: that frees memory."""
    await cold.put("tee", 10)
    sales = [await cold.confirm(await cold.reserve(("tee", 1))) for _ in range(3)]
    await forget(cold)
    await fill(cold)

    assert (await cold.fulfil(sales[0])).reservation.state == "fulfilled"
    assert (await cold.release(sales[1])).reservation.state == "released"
    assert (await cold.confirm(sales[2])).reservation.state == "confirmed"
    level = await cold.level("tee")
    assert (level.on_hand, level.committed) == (9, 1)
    with pytest.raises(HotStoreUnavailable, match="OOM") as refusal:
        await cold.reserve(("tee", 1))
    assert refusal.value.outcome == "not_applied"
    await cold.flush()
    assert await cold.violations() == []


async def test_full_redis_lets_cold_sales_of_a_batch_come_to_their_end(cold: Gateway) -> None:
    """In a batch what frees units passes, and what needs memory is refused by itself."""
    await cold.put("tee", 10)
    sales = [str((await cold.confirm(await cold.reserve(("tee", 1)))).reservation.id) for _ in range(2)]
    await forget(cold)
    await fill(cold)
    commands: list[BatchCommand] = [Release(sales[0]), Reserve([Wish("tee", 1)], "cart"), Fulfil(sales[1])]

    results = await cold.reservations.batch(commands, cold.call("memory"))

    assert [type(result).__name__ for result in results] == [
        "ReservationAnswer",
        "HotStoreUnavailable",
        "ReservationAnswer",
    ]


async def test_full_redis_is_no_hindrance_to_a_start(mortal_redis: PrivateRedis, sqlite_url: str) -> None:
    """A gateway that starts again beside a full server uses the scripts that are there, and goes on."""
    stores = Stores(mortal_redis.url, sqlite_url)
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        held = await gateway.reserve(("tee", 2))
        await fill(gateway)
    async with running(stores, is_flushing=False) as again:
        assert (await again.confirm(held)).reservation.state == "confirmed"
        await again.flush()
        assert await again.violations() == []


async def test_full_redis_without_the_scripts_is_told_at_the_start(mortal_redis: PrivateRedis, sqlite_url: str) -> None:
    """The server itself refuses to take scripts when it is full: the start ends and names the limit."""
    stores = Stores(mortal_redis.url, sqlite_url)
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.redis("FUNCTION", "FLUSH")
        await fill(gateway)
        with pytest.raises(StartRefused, match=r"scripts could not be loaded.*maxmemory.*raise it"):
            await Gateway(stores, is_flushing=False).__aenter__()
        await gateway.redis("CONFIG", "SET", "maxmemory", 0)
