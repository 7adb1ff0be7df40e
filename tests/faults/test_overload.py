"""More than the gateway can do: what is not done is refused at once and truthfully, and afterwards all is as it was."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from bench.open_loop import Job
from bench.rows.overload import resident_kib
from bench.storm import Storm, play
from tests.faults.conftest import SiteOf
from tests.faults.history import History
from tests.faults.request import Client, Request
from tests.faults.site import Site

pytestmark = [pytest.mark.faults, pytest.mark.alone]

#: Ten times what the gateway does on a quiet machine of two processors; on a busy one it is more than that.
RATE: Final = 60_000.0
SECONDS: Final = 15.0
PATIENCE_SECONDS: Final = 10.0
CONNECTIONS_MAX: Final = 600
RECOVERY_SECONDS_MAX: Final = 10.0
#: Other processes of a shared machine may take a processor for as long.
NOISE_MS: Final = 500.0
GROWTH_MIB_MAX: Final = 200.0
IDLE, SLOW_READERS = 2_000, 500
SHOP: Final = "storm"


async def offered(site: Site, rate: float, seconds: float, *, processes: int, connections: int) -> Storm:
    """Reserves of a shop of their own, from processes of their own."""
    port = int(site.addresses[0].rpartition(":")[2])
    body = json.dumps({"shop": SHOP, "lines": [{"sku": "hot", "quantity": 1}], "tier": "order"})
    key = f"{secrets.token_hex(4)}-"
    job = Job(port, "/v1/reservations", body, rate, seconds, connections, PATIENCE_SECONDS, key)
    return await asyncio.to_thread(play, job, processes)


async def stock_up(site: Site) -> None:
    """There is more than enough of what the storm wants."""
    async with aiohttp.ClientSession() as session:
        client = Client("setup", session, SHOP, History())  # no call of the shop that the checker judges
        body = {"source": "setup", "sequence": 1, "on_hand": 1_000_000_000}
        call = await client.send(Request("put", body, subject="hot/main"), site.addresses[0], seconds=10)
        assert call.is_done, call


def prove_answered(storm: Storm) -> None:
    """Each request was answered: with what it wanted, or with "later", when to come and that nothing happened."""
    assert (storm.hung, storm.lost, storm.bare, storm.unexpected) == (0, 0, 0, {}), storm
    assert storm.sold + storm.refused == storm.offered - storm.unsent


async def test_overload_is_refused_and_leaves_nothing_behind(site_of: SiteOf) -> None:
    """Ten times too much for 15 s beside ordinary traffic: nothing hangs, memory is bounded, the laws hold, and within 10 s
    answers are as fast as before."""
    site = site_of(settings={"GATEWAY_HTTP__CONNECTIONS_MAX": str(CONNECTIONS_MAX)})

    async with site.running():
        await stock_up(site)
        before = await offered(site, 200, 4, processes=1, connections=100)
        first_kib = resident_kib(site.gateways[0].pid)
        most_kib = [first_kib]
        watching = asyncio.create_task(watch(site.gateways[0].pid, most_kib))
        async with site.trouble():
            storm = await offered(site, RATE, SECONDS, processes=3, connections=CONNECTIONS_MAX // 2)
        watching.cancel()
        after = await offered(site, 200, RECOVERY_SECONDS_MAX + 3, processes=1, connections=100)

    for one in (before, storm, after):
        prove_answered(one)
    assert storm.refused > 0, "it was not too much"
    assert len(storm.retry_after) > 1, "everybody was told to come back at the same moment"
    assert (max(most_kib) - first_kib) / 1024 < GROWTH_MIB_MAX
    was_ms, is_ms = before.p99_ms(), after.p99_ms(int(RECOVERY_SECONDS_MAX))
    assert was_ms is not None
    assert is_ms is not None
    assert is_ms <= 2 * was_ms + NOISE_MS
    print(
        f"offered {storm.offered}, sent {storm.offered - storm.unsent}, {dict(storm.statuses)}, p99 {was_ms} -> {is_ms} ms"
    )
    await site.verdict()


def files_of(pid: int) -> int:
    """Files, and so connections, that the process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def watch(pid: int, kib: list[int]) -> None:
    """Memory that the process had, again and again."""
    while True:
        kib.append(resident_kib(pid))
        await asyncio.sleep(0.2)


async def test_idle_and_slow_clients_take_nothing_from_the_others(site_of: SiteOf) -> None:
    """2000 connections that say nothing and 500 that read nothing: traffic goes on, the slow ones are cut, the idle ones end."""
    site = site_of(settings={"GATEWAY_HTTP__KEEPALIVE_TIMEOUT_MS": "4000"})
    port = int(site.addresses[0].rpartition(":")[2])
    large = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 8
    clients: list[Silent] = []

    async with site.running():
        loop, pid = asyncio.get_running_loop(), site.gateways[0].pid
        first_kib, first_files = resident_kib(pid), files_of(pid)
        most_kib = [first_kib]
        watching = asyncio.create_task(watch(pid, most_kib))
        begun_s = time.monotonic()
        async with site.trouble():
            for at in range(IDLE + SLOW_READERS):
                _, client = await loop.create_connection(Silent, "127.0.0.1", port)
                clients.append(client)
                if at >= IDLE:
                    client.transport.pause_reading()
                    client.transport.write(large)
        async with asyncio.timeout(40):
            while files_of(pid) > first_files + 50:  # noqa: ASYNC110  # the gateway tells nobody
                await asyncio.sleep(0.1)
        took_s = time.monotonic() - begun_s
        watching.cancel()
        grown_mib = (max(most_kib) - first_kib) / 1024
        for client in clients:
            client.transport.abort()

    print(f"{len(clients)} clients, {grown_mib:.0f} MiB, all were gone after {took_s:.1f} s")
    assert grown_mib < GROWTH_MIB_MAX
    await site.verdict()


@pytest.mark.parametrize(
    ("half", "seconds"),
    [
        (b"POST /v1/reservations HTTP/1.1\r\nHost: x\r\n", 5),
        (b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{", 10),
    ],
    ids=["head", "body"],
)
async def test_half_a_request_is_ended_in_its_time(site_of: SiteOf, half: bytes, seconds: int) -> None:
    """With the settings as they are delivered: a head has 5 s and a body 10 s, then the client is told 408 and the connection ends."""
    site = site_of()
    await asyncio.to_thread(site.gateways[0].start)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.addresses[0].rpartition(":")[2]))
    begun_s = time.monotonic()

    writer.write(half)
    async with asyncio.timeout(seconds + 15):
        answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"not_applied"' in answer
    assert seconds - 0.5 < time.monotonic() - begun_s
    writer.close()


class Silent(asyncio.Protocol):
    """A client that says nothing by itself."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is taken."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
