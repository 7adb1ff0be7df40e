"""A gateway that starts before its Redis may be written to waits for that, as long as it waits for another opener."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from gateway.app import keeper
from gateway.app.refusal import StartRefused
from gateway.embedded import PrivateRedis
from tests.app.test_refusals import command
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


def set_replicas_wanted(server: PrivateRedis, count: int) -> None:
    """The server takes writes only with so many replicas; it has none."""
    command(server, "CONFIG", "SET", "min-replicas-to-write", str(count))


@pytest.mark.parametrize("is_known", [False, True])
async def test_start_waits_for_a_redis_that_lacks_a_replica(
    own_redis: PrivateRedis, sqlite_url: str, is_known: bool
) -> None:
    """On an empty server, and on one that another gateway has worked with and that was restarted: nobody has to start it again."""
    stores = Stores(own_redis.url, sqlite_url)
    if is_known:
        async with running(stores) as gateway:
            await gateway.put("tee", 10)
        own_redis.stop()
        own_redis.start()
    await asyncio.to_thread(set_replicas_wanted, own_redis, 1)

    async with AsyncExitStack() as stack:
        with capture_logs() as lines:
            starting = asyncio.create_task(stack.enter_async_context(running(stores)))
            async with asyncio.timeout(60):
                while not [line for line in lines if line["event"] == "start_waits"]:
                    assert not starting.done(), starting.exception()
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(set_replicas_wanted, own_redis, 0)
                gateway = await starting

        assert isinstance(gateway, Gateway)
        assert next(line["problem"] for line in lines if line["event"] == "start_waits").count("NOREPLICAS") == 1
        await gateway.put("tee", 10, sequence=2)
        assert (await gateway.level("tee")).on_hand == 10


async def test_start_that_has_waited_long_is_refused_with_the_reason(
    own_redis: PrivateRedis, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks after it is told what Redis lacks, not that openings follow each other too soon."""
    stores = Stores(own_redis.url, sqlite_url)
    async with running(stores):
        pass
    own_redis.stop()
    own_redis.start()
    await asyncio.to_thread(set_replicas_wanted, own_redis, 1)
    monkeypatch.setattr(keeper, "OPEN_WAIT_S", 2.0)

    with pytest.raises(StartRefused, match="NOREPLICAS"):
        async with running(stores):
            pass
