"""The ways a shard is opened when nothing was lost: created, attached, adopted, or refused."""

from __future__ import annotations

import pytest

from gateway.app.refusal import StartRefused
from gateway.domain.errors import Corrupt, ShardHalted
from gateway.domain.event import chain
from gateway.embedded import PrivateRedis
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, lost_connection, running
from tests.service.stores import Stores


async def test_opening_empty_stores_creates_epoch_one(each_store: Stores) -> None:
    """A first start opens epoch 1 from nothing, and its first event says so."""
    async with running(each_store, is_flushing=False) as gateway:
        assert gateway.shard.epoch == 1
        await gateway.flush()
        row = await gateway.ledger.read_shard(0)
        first = (await gateway.ledger.read_events(0, 0, 10))[0]
    assert (row.state, row.epoch, row.generation, row.checkpoint) == ("open", 1, 1, 1)
    assert (first.type, first.seq, first.epoch) == ("shard.opened", 1, 1)


async def test_opening_after_a_crash_attaches_under_the_same_epoch(each_store: Stores) -> None:
    """A gateway that died left everything in Redis: the next one goes on under the same epoch, with the unflushed tail."""
    async with running(each_store, is_flushing=False) as first:
        await first.put("tee", 10)
        await first.flush()
        held = await first.reserve(("tee", 3))
        tail = await first.log_entries()
        await first.kill()
    async with running(each_store, is_flushing=False) as second:
        assert second.shard.epoch == 1
        assert await second.log_entries() == tail
        assert (await second.read(held)).reservation.state == "held"
        await second.flush()
        assert (await second.read(held)).durable
        assert (await second.ledger.read_shard(0)).epoch == 1
        assert await second.violations() == []


async def test_opening_after_a_restart_of_redis_adopts_what_its_file_holds(
    mortal_redis: PrivateRedis, database_url: str
) -> None:
    """Redis restarted with its append-only file: nothing is lost, the epoch is raised, holds acked from memory live on."""
    async with running(Stores(mortal_redis.url, database_url), is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.flush()
        held = await gateway.reserve(("tee", 3), key="k-1")
        deadline = held.reservation.deadline_ms

        mortal_redis.stop()
        mortal_redis.start()
        await lost_connection(gateway.link)
        assert await gateway.keep() == 1

        assert gateway.shard.epoch == 2
        row = await gateway.ledger.read_shard(0)
        assert (row.state, row.epoch, row.generation) == ("open", 2, 1)
        assert await gateway.ledger.epoch_ends(0) == {1: held.reservation.seq}
        now = await gateway.read(held)
        assert (now.reservation.state, now.reservation.deadline_ms, now.durable) == ("held", deadline, True)
        again = await gateway.reserve(("tee", 3), key="k-1")
        assert again.replayed
        assert again.reservation.id == held.reservation.id
        assert (await gateway.confirm(held)).reservation.epoch == 2
        await gateway.flush()
        assert await gateway.violations() == []


async def test_opening_a_closed_shard_of_this_process_attaches(idle: Gateway) -> None:
    """A shard that closed itself for a reason that passed is attached again, with what was not flushed."""
    await idle.put("tee", 10)
    idle.shard.close()
    assert await idle.keep() == 1
    assert (idle.shard.is_open, idle.shard.epoch) == (True, 1)
    assert (await idle.level("tee")).on_hand == 10
    assert await idle.keep() == 0


async def test_opening_a_redis_of_another_deployment_is_refused(
    stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A Redis that holds another deployment's shard under this prefix is left as it is, and the start ends with a word on it."""
    other = Stores(stores.redis_url, f"sqlite:///{tmp_path_factory.mktemp('other')}/g.db")
    async with running(other, is_flushing=False) as first:
        await first.put("tee", 10)
        before = await first.redis("HGETALL", first.shard.keys.meta), await first.keys()
        with pytest.raises(StartRefused, match="another deployment"):
            async with running(stores):
                pass
        assert (await first.redis("HGETALL", first.shard.keys.meta), await first.keys()) == before
        assert (await first.level("tee")).on_hand == 10


async def test_opening_a_halted_shard_is_refused(idle: Gateway, stores: Stores) -> None:
    """A halted shard waits for its operator: no start opens it, and none raises its epoch."""
    await run_sql(stores.database_url, "UPDATE shards SET state = 'halted'")
    idle.shard.close()
    assert await idle.keep() == 0
    with pytest.raises(ShardHalted, match="by hand"):
        await idle.reopen()
    assert (await idle.ledger.read_shard(0)).epoch == 1


async def test_opening_a_log_with_an_entry_of_another_version_is_refused_and_loses_nothing(idle: Gateway) -> None:
    """An entry that this version can not read stops the opening: to leave it out would lose it."""
    await idle.put("tee", 10)
    await append_entry(idle, "stock.teleported")
    before = await idle.log_entries(), await idle.keys()
    idle.shard.close()
    for _ in range(2):
        with pytest.raises(Corrupt, match="cannot be read"):
            await idle.keep()
    assert (await idle.log_entries(), await idle.keys()) == before
    assert (await idle.ledger.read_shard(0)).checkpoint == 0


async def append_entry(gateway: Gateway, type: str) -> None:
    """The log and meta go on with an entry of this type, as a newer version's script would write it."""
    meta, log = gateway.shard.keys.meta, gateway.shard.keys.log
    seq, digest = await gateway.redis("HMGET", meta, "seq", "digest")
    at = int(seq) + 1
    payload = f"E\t{at}\t{gateway.shard.epoch}\t{type}\t{await gateway.clock_ms()}\tmain\tkey:test\t\t\t"
    link = chain(digest, payload)
    await gateway.redis("XADD", log, f"{at}-0", "e", payload, "d", link)
    await gateway.redis("HSET", meta, "seq", at, "digest", link)
