"""The flusher dies at every point there is, again and again: each change is stored once, in order, and none is left out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.durable.ledger import Batch, CommitUnknown
from gateway.flush.flusher import Flusher
from gateway.flush.upcoming import Upcoming
from gateway.hot.log import ChainBroken
from tests.flush.traffic import SKUS, Traffic
from tests.flush.witness import Witness, compare_rows
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

STEPS = 90
BATCH_MAX = 3  # so few that the next batch is often made while one is being committed


class Killed(Exception):
    """The process is gone: nothing after this point has run."""


async def die(*_: object, **__: object) -> Any:
    """Whoever calls this does not come back."""
    raise Killed


def dies_after(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The work is done, and nobody learns of it."""

    async def done_and_dead(*arguments: object, **named: object) -> Any:
        await work(*arguments, **named)
        raise Killed

    return done_and_dead


def loses_answer(gateway: Gateway, *, is_committed: bool) -> Callable[..., Awaitable[Any]]:
    """COMMIT was sent and its answer is lost; the durable store alone knows what it did."""
    append = gateway.ledger.append

    async def unknown(batch: Batch, **named: Any) -> bool:
        if is_committed:
            assert await append(batch, **named)
        raise CommitUnknown("the connection broke")

    return unknown


def dies_in(run: Callable[..., Awaitable[Any]], *, is_done: bool) -> Callable[..., Awaitable[Any]]:
    """The process ends with the call of `settle`, before or after Redis has run it."""

    async def run_or_die(name: str, *arguments: object, **named: object) -> Any:
        if name != "settle":
            return await run(name, *arguments, **named)
        if is_done:
            await run(name, *arguments, **named)
        raise Killed

    return run_or_die


def kill_points(gateway: Gateway) -> dict[str, tuple[object, str, Callable[..., Awaitable[Any]]]]:
    """What is replaced so that a turn ends there: the object, its method, and what it does instead."""
    ledger, shard = gateway.ledger, gateway.shard
    return {
        "after reading": (Upcoming, "_read", dies_after(Upcoming._read)),
        "before the append": (ledger, "append", die),
        "after the append": (ledger, "append", dies_after(ledger.append)),
        "before settling": (shard, "run", dies_in(shard.run, is_done=False)),
        "after settling": (shard, "run", dies_in(shard.run, is_done=True)),
        "answer lost, committed": (ledger, "append", loses_answer(gateway, is_committed=True)),
        "answer lost, not committed": (ledger, "append", loses_answer(gateway, is_committed=False)),
        "answer lost, and then gone": (ledger, "read_shard", die),
    }


def replace_flusher(gateway: Gateway) -> None:
    """Another process: a flusher that knows nothing of what the one before did."""
    gateway._flusher = gateway._keeper._flusher = Flusher(
        gateway.shard, gateway.ledger, gateway.watermark, gateway.policy, batch_max=BATCH_MAX, lag_ms_max=1000
    )


async def turn_and_die(gateway: Gateway, point: str) -> None:
    """A turn that ends at the point, then another process that opens the shard and goes on."""
    place, name, instead = kill_points(gateway)[point]
    with pytest.MonkeyPatch.context() as patch:
        if point == "answer lost, and then gone":
            patch.setattr(gateway.ledger, "append", loses_answer(gateway, is_committed=True))
        patch.setattr(place, name, instead)
        try:
            await gateway.turn()
        except Killed:
            replace_flusher(gateway)
            gateway.shard.close()
    if not gateway.shard.is_open:
        await gateway.keep()


@pytest.mark.parametrize("run", range(2))
async def test_deaths_at_random_points_store_each_change_once_in_order(each_store: Stores, run: int) -> None:
    """Random traffic, and a flusher that dies at random points: the durable log is the log, its rows are what Redis has."""
    seed = random.randrange(1 << 30)
    print("seed", seed, "run", run)
    rng, witness = random.Random(seed), Witness()
    died: set[str] = set()
    async with running(each_store, is_flushing=False) as gateway:
        replace_flusher(gateway)
        await gateway.reopen()
        traffic = Traffic(gateway, seed)
        for sku in SKUS:
            await gateway.put(sku, 30, source="start")
        for _ in range(STEPS):
            await traffic.step()
            if rng.random() < 0.4:
                await witness.look(gateway)
                point = rng.choice(list(kill_points(gateway)))
                died.add(point)
                await turn_and_die(gateway, point)
        await witness.look(gateway)
        await gateway.flush()
        assert traffic.applied > STEPS / 3
        assert len(died) > 4
        assert gateway.shard.epoch == 1
        await witness.compare(gateway)
        assert await compare_rows(gateway) > 10
        assert await gateway.violations() == []
        assert await gateway.redis("XLEN", gateway.shard.keys.log) == 1


@pytest.mark.parametrize("point", ["answer lost, committed", "answer lost, not committed"])
async def test_deaths_of_a_commit_answer_are_settled_by_the_row(each_database: Stores, point: str) -> None:
    """A COMMIT without an answer is never assumed: who waits is answered when the row tells it, and the append is made once."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.flush()
        waiting = asyncio.create_task(gateway.put("tee", 10, ack="durable"))
        await gateway.until_awaited()
        await turn_and_die(gateway, point)
        await asyncio.sleep(0)
        is_told = waiting.done()
        row = await gateway.ledger.read_shard(0)
        assert is_told == (row.checkpoint == 2) == (point == "answer lost, committed")
        await gateway.flush()
        assert (await waiting).durable
        events = await gateway.ledger.read_events(0, 0, 9)
        assert [(event.seq, event.type) for event in events] == [(1, "shard.opened"), (2, "stock.counted")]


async def test_deaths_aside_three_flushers_at_once_store_each_change_once(
    patient_locks: None, each_store: Stores
) -> None:
    """Three gateways flush one shard at the same time, while one of them sells: each change is stored once, in order."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng, witness = random.Random(seed), Witness()
    stores = replace(each_store, batch_max=BATCH_MAX)
    async with (
        running(stores, is_flushing=False, is_drained=False) as one,
        running(stores, is_flushing=False, is_drained=False) as two,
        running(stores, is_flushing=False, is_drained=False) as three,
    ):
        gateways = [one, two, three]
        traffic = Traffic(one, seed, neighbours=[two, three])
        for sku in SKUS:
            await one.put(sku, 100, source="start")
        for _ in range(25):
            for _ in range(rng.randint(1, 4)):
                await traffic.step()
            await witness.look(one)
            turns = [gateway.turn() for gateway in rng.sample(gateways, 3)]
            for outcome in await asyncio.gather(*turns, return_exceptions=True):
                assert isinstance(outcome, int | ChainBroken), outcome
            for gateway in gateways:
                await gateway.keep()
        for gateway in gateways:
            await witness.look(one)
            await gateway.flush()
        await witness.compare(one)
        assert await compare_rows(two) > 5
        assert [gateway.shard.epoch for gateway in gateways] == [1, 1, 1]
        assert await three.violations() == []


async def test_deaths_aside_an_idle_flusher_follows_one_that_was_faster(stores: Stores) -> None:
    """A flusher whose entries another one has stored and dropped goes on behind it: the log is whole, its shard stays open."""
    async with (
        running(stores, is_flushing=False, is_drained=False) as busy,
        running(stores, is_flushing=False, is_drained=False) as idle,
    ):
        for number in range(3):
            await busy.put("tee", 10 + number, sequence=number + 1)
            await busy.flush()
        await idle.flush()
        assert idle.shard.is_open
        assert idle.watermark.covers(1, 4)
        await busy.put("tee", 20, sequence=9)
        await idle.flush()
        assert (await busy.ledger.read_shard(0)).checkpoint == 5
