"""A Redis that becomes unfit while the gateway runs: the shard is closed, readiness says why, and what was thrown away is rebuilt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.domain.errors import HotStoreUnavailable, ShardRecovering
from gateway.embedded import PrivateRedis
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


@pytest.fixture
async def own(own_redis: PrivateRedis, sqlite_url: str) -> AsyncIterator[Gateway]:
    """A gateway on a Redis of its own, whose jobs turn only when they are told to."""
    async with running(Stores(own_redis.url, sqlite_url), is_flushing=False) as gateway:
        yield gateway


async def test_evicting_policy_closes_the_shard_until_it_is_taken_back(own: Gateway) -> None:
    """The next look refuses it: not ready, in words; the keeper opens nothing; with the old policy all is as it was."""
    await own.put("tee", 10)
    await own.redis("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")

    await own.look()

    ready = await own.operations.readiness()
    assert not ready.is_ready
    assert "allkeys-lru" in str(ready.checks["redis"]["problem"])
    with pytest.raises(ShardRecovering) as refused:
        await own.put("tee", 11, sequence=2)
    assert refused.value.outcome == "not_applied"
    with pytest.raises(HotStoreUnavailable, match="allkeys-lru"):
        await own.keep()

    await own.redis("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await own.keep()

    assert (await own.operations.readiness()).is_ready
    assert own.shard.epoch == 1, "nothing was thrown away, so nothing had to be rebuilt"
    assert (await own.level("tee")).on_hand == 10


async def test_keys_that_were_thrown_away_lead_to_a_rebuild(own: Gateway) -> None:
    """Also when the policy was taken back before anybody looked: which keys are gone nobody knows."""
    await own.put("tee", 10)
    held = await own.reserve(("tee", 3))
    await own.flush()
    await throw_something_away(own)

    await own.look()

    with pytest.raises(ShardRecovering):
        await own.put("tee", 11, sequence=2)
    await own.keep()
    assert own.shard.epoch == 2
    level = await own.level("tee")
    assert (level.on_hand, level.held) == (10, 3)
    assert (await own.confirm(held)).reservation.state == "confirmed"


async def test_keys_thrown_away_before_the_shard_is_opened_again_lead_to_a_rebuild(own: Gateway) -> None:
    """The look before an opening counts them, too: it may not join in with what is left."""
    await own.put("tee", 10)
    await own.flush()
    own.shard.close()
    await throw_something_away(own)

    await own.keep()  # condemns, and finds the shard poisoned or its keys gone

    assert own.shard.epoch == 2
    assert (await own.level("tee")).on_hand == 10


async def test_look_follows_what_is_unwise(own: Gateway) -> None:
    """Readiness shows a warning as long as it holds: the append-only file is switched off, and on again."""
    await own.redis("CONFIG", "SET", "appendonly", "no")
    await own.look()
    without = await own.operations.readiness()
    await own.redis("CONFIG", "SET", "appendonly", "yes")
    await own.look()
    with_it = await own.operations.readiness()
    # A server that writes its first file does not end when it is told to.
    written = {"aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"}
    while not written <= set((await own.redis("INFO", "persistence")).split()):  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(0.01)

    assert without.is_ready
    assert any("append-only" in str(one) for one in list(without.checks["redis"]["warnings"]))  # type: ignore[call-overload]
    assert not any("append-only" in str(one) for one in list(with_it.checks["redis"]["warnings"]))  # type: ignore[call-overload]


async def test_look_at_a_server_that_does_not_answer_changes_nothing(own: Gateway, own_redis: PrivateRedis) -> None:
    """No connection is no verdict: what was found last stands."""
    before = own._posture.judgement
    own_redis.stop()

    await own.look()

    assert own._posture.judgement is before
    own_redis.relaunch()
    own_redis.wait_ready()


async def throw_something_away(gateway: Gateway) -> None:
    """Redis has made room by throwing keys away, none of which was ours, and is then as it should be: only its count tells."""
    for number in range(200):
        await gateway.redis("SET", f"filler{number}", "x" * 10_000, "EX", 3600)
    told = (await gateway.redis("INFO", "memory")).splitlines()
    used = next(int(line.partition(":")[2]) for line in told if line.startswith("used_memory:"))
    await gateway.redis("CONFIG", "SET", "maxmemory-policy", "volatile-random")
    await gateway.redis("CONFIG", "SET", "maxmemory", used - 500_000)
    await gateway.redis("SET", "one more", "x")
    await gateway.redis("CONFIG", "SET", "maxmemory", 0)
    await gateway.redis("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert await gateway.redis("EXISTS", gateway.shard.keys.meta, gateway.shard.keys.log) == 2
