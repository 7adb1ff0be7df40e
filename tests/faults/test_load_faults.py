"""Clients who take a gateway's connections and give nothing for them, while the usual traffic flows."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from tests.acceptance.gateways import Gateway
from tests.faults.armed import COMMAND
from tests.faults.conftest import SiteOf
from tests.faults.gateway_process import Footprint, footprint
from tests.faults.rude import RECEIVED_BYTES_MAX, Rude

pytestmark = [pytest.mark.faults, pytest.mark.alone]

IDLE: Final = 2_000
SLOW_READERS: Final = 500
DRIPPING: Final = 50
#: Connections opened at one moment: more would wait in the kernel's queue, which is not what this is about.
AT_ONCE: Final = 100
#: For 2,600 connections and 500 documents of 1.4 MB that nobody reads.
MEMORY_MB_MAX: Final = 150
HEAD_SECONDS: Final = 5.0
BODY_SECONDS: Final = 10.0
#: A loop on a busy machine looks at its timers late.
LATE_SECONDS_MAX: Final = 3.5
FLOOD_SECONDS: Final = BODY_SECONDS + LATE_SECONDS_MAX
BACK_SECONDS_MAX: Final = 20.0


@pytest.mark.timeout(240)
async def test_rude_clients_cost_neither_memory_nor_other_clients(site_of: SiteOf, rng: random.Random) -> None:
    """2,000 idle connections, 500 readers who do not read, heads and bodies that never end: others are served, and the rude are
    hung up on when their time is over; when they are gone all is as it was.
    """
    site = site_of(command=COMMAND)
    gateway = site.gateways[0]
    dripped: dict[str, list[tuple[float, bytes]]] = {}

    async with site.running():
        await asyncio.sleep(2)
        before = await footprint(gateway)
        flood_s = time.monotonic()
        async with rude_clients(site.addresses[0], IDLE) as idle, rude_clients(site.addresses[0], SLOW_READERS) as slow:
            await each(idle, lambda one: one.connect())
            assert await each(idle, lambda one: one.ask()) == [200] * IDLE
            await each(slow, lambda one: one.connect(receives_bytes=RECEIVED_BYTES_MAX))
            reading = [asyncio.create_task(one.never_read()) for one in slow]
            dripping = asyncio.create_task(drip(site.addresses[0], dripped))
            peak = await highest(gateway, FLOOD_SECONDS)
            await dripping
            asked = await each(rng.sample(idle, 200), lambda one: one.ask())
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
        flood_s = time.monotonic() - flood_s
        await asyncio.sleep(1)

    after = await settled(gateway, before)
    print(f"before: {before}; in {flood_s:.0f} s of rudeness at most: {peak}; after: {after}")
    for what, seconds in (("head", HEAD_SECONDS), ("body", BODY_SECONDS)):
        lasted = [took_s for took_s, _ in dripped[what]]
        print(f"a {what} that never ends was hung up on after {min(lasted):.1f} to {max(lasted):.1f} s")
        assert seconds - 1 < min(lasted)
        assert max(lasted) < seconds + LATE_SECONDS_MAX
        assert all(words.startswith(b"HTTP/1.1 408") for _, words in dripped[what])
    assert asked == [200] * 200, "an idle connection did not last"
    assert peak.memory_mb - before.memory_mb < MEMORY_MB_MAX
    await site.verdict()


async def drip(address: str, dripped: dict[str, list[tuple[float, bytes]]]) -> None:
    """Heads and bodies that never end have all been hung up on."""
    head = b"GET /v1/stock/a HTTP/1.1\r\nHost: gateway\r\nX-Slow: "
    body = b"POST /v1/reservations HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"

    async def all_of(first: bytes) -> list[tuple[float, bytes]]:
        async with rude_clients(address, DRIPPING) as clients:
            await each(clients, lambda one: one.connect())
            return await asyncio.gather(*[one.drip(first) for one in clients])

    dripped["head"], dripped["body"] = await asyncio.gather(all_of(head), all_of(body))


async def highest(gateway: Gateway, seconds: float) -> Footprint:
    """The most of each that it had in the time."""
    seen = [await footprint(gateway)]
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        await asyncio.sleep(0.5)
        seen.append(await footprint(gateway))
    return Footprint(max(one.memory_mb for one in seen), max(one.files for one in seen), max(one.tasks for one in seen))


async def settled(gateway: Gateway, before: Footprint) -> Footprint:
    """Files and tasks are what they were before, or fewer: by then the traffic has ended, too."""
    end_s = time.monotonic() + BACK_SECONDS_MAX
    while (now := await footprint(gateway)).files > before.files or now.tasks > before.tasks:
        assert time.monotonic() < end_s, f"it had {before} and has {now}"
        await asyncio.sleep(0.2)
    return now


@asynccontextmanager
async def rude_clients(address: str, count: int) -> AsyncIterator[list[Rude]]:
    """So many, not connected yet; in the end they are gone."""
    clients = [Rude(address) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


async def each(clients: list[Rude], act: Callable[[Rude], Coroutine[Any, Any, Any]]) -> list[Any]:
    """What every one of them came to."""
    results: list[Any] = []
    for at in range(0, len(clients), AT_ONCE):
        results += await asyncio.gather(*[act(one) for one in clients[at : at + AT_ONCE]])
    return results
