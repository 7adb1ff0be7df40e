"""Processes that share the work: some answer requests, one flushes, and an acknowledgement reaches the one that waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import pytest

from gateway.app.engine import Engine
from gateway.app.premises import Premises
from gateway.app.role import Role
from gateway.domain.answer import ReservationAnswer
from gateway.domain.command import Ack, Call, Confirm, PutLevel, Reserve, Wish
from gateway.domain.errors import DurabilityUnknown, OutOfStock, ShardRecovering
from tests.service.stores import GivenPremises, Stores


@asynccontextmanager
async def playing(stores: Stores, role: Role) -> AsyncIterator[Engine]:
    """An engine in this role; at the end it has stopped."""
    settings = stores.settings()
    async with Engine(settings, cast("Premises", GivenPremises(stores)), lambda: settings, role) as engine:
        yield engine


async def put(engine: Engine, sku: str, on_hand: int) -> None:
    """A count."""
    await engine.stock.put_level(
        PutLevel(sku, "main", "erp", 1, on_hand, None, None, ()), Call("main", "key:test", "durable")
    )


async def reserve(engine: Engine, sku: str, ack: Ack = "memory", quantity: int = 1) -> ReservationAnswer:
    """A hold of one line."""
    return await engine.reservations.reserve(Reserve([Wish(sku, quantity)], "cart"), Call("main", "key:test", ack))


async def newest_event(engine: Engine) -> str:
    """The type of the event that was committed last."""
    return (await engine._ledger.read_events(0, 0, 100))[-1].type


async def test_commits_of_the_working_process_reach_every_one_that_waits(stores: Stores) -> None:
    """200 durable holds and sales over two web processes are all answered, none before it is in the durable store."""
    async with AsyncExitStack() as stack:
        work = await stack.enter_async_context(playing(stores, "work"))
        webs = [await stack.enter_async_context(playing(stores, "web")) for _ in range(2)]
        await put(webs[0], "tee", 150)

        async def buy(number: int) -> bool:
            web, other = webs[number % 2], webs[(number + 1) % 2]
            try:
                held = await reserve(web, "tee", "durable")
            except OutOfStock:
                return False
            assert held.durable
            stored = await work._ledger.read_reservation(held.told.random_part)
            assert stored is not None
            confirm = Confirm(held.told.public_id, "reject", False)
            sold = await other.reservations.confirm(confirm, Call("main", "key:test", "durable"))
            return sold.durable

        bought = await asyncio.gather(*[buy(number) for number in range(200)])
        found = (await work.operations.conservation()).violations

    assert sum(bought) == 150
    assert found == []


async def test_flusher_that_rests_is_urged_by_another_process(stores: Stores) -> None:
    """Whoever waits for a commit does not wait for the rest of a flusher elsewhere; a memory hold does not wake it."""
    async with playing(stores, "work") as work, playing(stores, "web") as web:
        turning, step = asyncio.Lock(), work._flush_job.step

        async def turn() -> int:
            async with turning:
                return await step()

        async def rest() -> None:
            """Not in the middle of a turn, which would end it."""
            async with turning:
                work._flusher._rest_until = time.perf_counter() + 3600

        work._flush_job.step = turn
        await put(web, "tee", 100)
        for _ in range(20):
            await rest()
            assert (await reserve(web, "tee", "durable")).durable
        # A word that was said before, and comes late, may have the next hold committed, or the next two.
        for _ in range(20):
            await rest()
            held = await reserve(web, "tee")
            await asyncio.sleep(0.3)
            if not work._watermark.covers(held.told.epoch, held.told.seq):
                break
        assert not web._watermark.covers(held.told.epoch, held.told.seq)
        assert (await reserve(web, "tee", "durable")).durable
        assert web._watermark.covers(held.told.epoch, held.told.seq)


async def test_web_process_waits_in_vain_without_a_working_one_and_goes_on_with_the_next(stores: Stores) -> None:
    """The change is applied and its commit unknown; when another process flushes, it is committed, and all is well."""
    async with AsyncExitStack() as stack:
        async with playing(stores, "work"):
            web = await stack.enter_async_context(playing(stores, "web"))
            await put(web, "tee", 5)
        patient_ms, web._books._ack_timeout_ms = web._books._ack_timeout_ms, 300
        with pytest.raises(DurabilityUnknown) as unknown:
            await reserve(web, "tee", "durable")
        web._books._ack_timeout_ms = patient_ms
        held = unknown.value.extras["id"]
        assert not (await reserve(web, "tee")).durable
        async with playing(stores, "work"):
            assert (await reserve(web, "tee", "durable")).durable
            assert (await web.reservations.read(held, Call("main", "key:test"))).durable


async def test_web_process_follows_into_a_new_epoch(stores: Stores) -> None:
    """Redis lost everything: the working process opens the shard again, the others join in, and what was lost is told as lost."""
    async with playing(stores, "work") as work, playing(stores, "web") as web:
        await put(web, "tee", 5)
        kept = await reserve(web, "tee", "durable")
        await work._link.call("FLUSHALL")  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            while True:
                try:
                    await reserve(web, "tee", "durable")
                    break
                except ShardRecovering:
                    await asyncio.sleep(0.05)
        level = (await web.stock.read("tee", Call("main", "key:test"))).sku.levels["main"]
        assert level.held == 2
        assert (await web.reservations.read(kept.told.public_id, Call("main", "key:test"))).durable


async def test_web_process_does_not_open_a_shard(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a working process there is nothing to join, and the start ends with a line that says so."""
    monkeypatch.setattr("gateway.app.keeper.OPEN_WAIT_S", 0.5)
    with pytest.raises(Exception, match="not open yet"):
        async with playing(stores, "web"):
            raise AssertionError("it must not open")


async def test_web_process_does_not_join_a_shard_whose_redis_is_another_one(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of Redis somebody has to judge what it kept; until then there is nothing to join."""
    async with playing(stores, "work") as work:
        await put(work, "tee", 5)
        await work._link.call("HSET", work._shard.keys.meta, "lineage", "another")
    monkeypatch.setattr("gateway.app.keeper.OPEN_WAIT_S", 0.5)
    with pytest.raises(Exception, match="not open yet"):
        async with playing(stores, "web"):
            raise AssertionError("it must not join")
    monkeypatch.undo()
    async with playing(stores, "work"), playing(stores, "web") as web:
        assert (await reserve(web, "tee", "durable")).durable


async def test_working_process_sweeps(stores: Stores) -> None:
    """Holds that nobody touches end at their deadline though the web process never looks."""
    async with playing(stores, "work") as work, playing(stores, "web") as web:
        await put(web, "tee", 5)
        await web.reservations.reserve(Reserve([Wish("tee", 2)], "cart", 1), Call("main", "key:test", "memory"))
        async with asyncio.timeout(60):
            while await newest_event(work) != "stock.expired":  # noqa: ASYNC110 - the store tells nobody of its changes
                await asyncio.sleep(0.05)
