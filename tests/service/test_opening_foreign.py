"""A store that turns out to be another deployment's while the gateway runs: it is refused, and nothing is written to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.domain.errors import Corrupt, ShardRecovering
from gateway.embedded import PrivateRedis
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, lost_connection, running
from tests.service.stores import Stores


async def content(gateway: Gateway) -> dict[str, str]:
    """Every key of its Redis with its content."""
    return {key: str(await told(gateway, key)) for key in await gateway.keys()}


async def told(gateway: Gateway, key: str) -> object:
    """A key's content."""
    words = {
        "hash": ("HGETALL", key),
        "zset": ("ZRANGE", key, "0", "-1", "WITHSCORES"),
        "stream": ("XRANGE", key, "-", "+"),
        "string": ("GET", key),
    }
    return await gateway.redis(*words[str(await gateway.redis("TYPE", key))])


async def test_redis_swapped_for_another_deployments_is_refused(
    mortal_redis: PrivateRedis, short_path: Path, tmp_path: Path
) -> None:
    """At the address of our Redis stands the data of another deployment: calls are refused, both stores stay as they are; ours
    comes back and all goes on."""
    other_redis = PrivateRedis(short_path / "other", mortal_redis.binary)
    other_redis.start()
    try:
        async with running(Stores(other_redis.url, f"sqlite:///{tmp_path / 'other.db'}")) as other:
            await other.put("tee", 99, ack="durable")
            await other.reserve(("tee", 9), ack="durable")
    finally:
        other_redis.stop()
    stores = Stores(mortal_redis.url, f"sqlite:///{tmp_path / 'own.db'}")
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        held = await gateway.reserve(("tee", 2))
        await gateway.flush()
        before = await gateway.ledger.read_shard(0)
        mortal_redis.stop()
        own, foreign = mortal_redis.folder / "appendonlydir", other_redis.folder / "appendonlydir"
        own.rename(short_path / "kept")
        shutil.copytree(foreign, own)
        mortal_redis.relaunch()
        mortal_redis.wait_ready()
        await lost_connection(gateway.link)
        found = await content(gateway)

        for _ in range(2):
            with pytest.raises(ShardRecovering):
                await gateway.reserve(("tee", 1))
            with pytest.raises(Corrupt, match="another deployment"):
                await gateway.keep()

        assert await content(gateway) == found
        assert await gateway.ledger.read_shard(0) == before
        mortal_redis.stop()
        shutil.rmtree(own)
        (short_path / "kept").rename(own)
        mortal_redis.relaunch()
        mortal_redis.wait_ready()
        await lost_connection(gateway.link)
        assert await gateway.keep() == 1
        assert (await gateway.read(held)).reservation.state == "held"
        await gateway.flush()
        assert await gateway.violations() == []


async def test_database_swapped_for_another_deployments_is_refused(
    each_database: Stores, tmp_path: Path, mortal_redis: PrivateRedis
) -> None:
    """The durable store that is reached now is another deployment's: the shard stays closed, no epoch of theirs is raised."""
    foreign = Stores(mortal_redis.url, f"sqlite:///{tmp_path / 'foreign.db'}")
    async with running(each_database, is_flushing=False) as gateway, running(foreign) as other:
        await gateway.put("tee", 5)
        await gateway.flush()
        await other.put("mug", 7, ack="durable")
        theirs, ours = await other.ledger.read_shard(0), gateway.ledger
        meta = await gateway.redis("HGETALL", gateway.shard.keys.meta)

        gateway.opener._ledger = other.ledger
        gateway.shard.close()
        for _ in range(2):
            with pytest.raises(Corrupt, match="another deployment"):
                await gateway.keep()

        assert await other.ledger.read_shard(0) == theirs
        assert await gateway.redis("HGETALL", gateway.shard.keys.meta) == meta
        gateway.opener._ledger = ours
        assert await gateway.keep() == 1
        assert (await gateway.level("tee")).on_hand == 5


@pytest.mark.parametrize("setting", ["shards = 2", "hash = 'fnv'", "prefix = 'zz'"])
async def test_deployment_that_was_changed_underneath_is_refused(each_database: Stores, setting: str) -> None:
    """Shards, hash or prefix of the store are not the gateway's any more: an opening ends with both named, and changes nothing."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        await gateway.flush()
        before = await gateway.ledger.read_shard(0)
        await run_sql(each_database.database_url, f"UPDATE deployments SET {setting}")
        await gateway.redis("HSET", gateway.shard.keys.meta, "poison", "a test")
        gateway.shard.close()

        with pytest.raises(Corrupt, match=setting.partition(" ")[0]):
            await gateway.keep()

        assert await gateway.ledger.read_shard(0) == before
