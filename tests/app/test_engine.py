"""The engine in this process: whatever its end meets, its stores are let go."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.app import engine
from gateway.app.refusal import StartRefused
from gateway.domain.errors import ShardRecovering
from gateway.domain.event import EntryInvalid
from gateway.flush.flusher import Fenced
from gateway.hot.judgement import Judgement
from gateway.hot.link import Link, Lost
from gateway.hot.log import ChainBroken
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


def threads() -> set[str]:
    """The threads of drivers; those of the event loop's own pool end with the loop."""
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


async def until_only(names: set[str]) -> None:
    """No other thread is left; one whose connection is closed ends by itself a moment later."""
    async with asyncio.timeout(60):
        while threads() != names:  # noqa: ASYNC110 - a thread tells nobody that it ended
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("problem", [Fenced("not ours"), ChainBroken("a gap", []), EntryInvalid("newer")])
async def test_engine_ends_whatever_its_last_flush_meets(
    stores: Stores, problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A last flush that fails leaves the rest in the log: the end goes on, no connection and no thread is left."""
    before = threads()
    gateway = await Gateway(stores, is_flushing=False).__aenter__()
    await gateway.put("tee", 10)

    async def fails() -> int:
        raise problem

    monkeypatch.setattr(gateway.flusher, "step", fails)
    try:
        await gateway.__aexit__(None, None, None)
        await until_only(before)
        assert gateway.link.pending == 0
        assert gateway.link._wire is None
    finally:
        await gateway.kill()
    async with running(stores, is_flushing=False) as again:
        assert (await again.level("tee")).on_hand == 10


async def test_engine_that_can_not_open_lets_go_of_its_stores(stores: Stores) -> None:
    """A start that fails on the way leaves no connection and no thread behind."""
    before = threads()
    async with running(stores) as gateway:
        await gateway.redis("HSET", gateway.shard.keys.meta, "deployment", "another")
    with pytest.raises(StartRefused, match="another deployment"):
        async with running(stores):
            raise AssertionError("it must not open")
    await until_only(before)


async def test_engine_whose_redis_falls_silent_at_the_start_says_so_in_a_line(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stood, and the reply to the first question is lost: the start is refused, as it is for any Redis not to be had."""

    async def silent(_: Link) -> Judgement:
        raise Lost("the reply is lost")

    monkeypatch.setattr(engine, "judge", silent)
    with pytest.raises(StartRefused, match="Redis can not be used: the reply is lost"):
        async with running(stores):
            raise AssertionError("it must not start")


async def test_engine_says_that_it_is_not_ready_while_its_shard_is_closed(idle: Gateway) -> None:
    """Readiness names the closed shard, and is there again when the keeper has opened it."""
    assert (await idle.operations.readiness()).is_ready
    await idle.redis("HSET", idle.shard.keys.meta, "poison", "a test")
    with pytest.raises(ShardRecovering):
        await idle.put("tee", 1)
    readiness = await idle.operations.readiness()
    assert not readiness.is_ready
    assert readiness.checks["shards"] == {"ok": False, "open": 0, "epoch": 1, "problem": "shard 0 is closed"}
    await idle.keep()
    assert (await idle.operations.readiness()).is_ready
