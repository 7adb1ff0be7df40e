"""The machine has no more files, no more room, or nothing that can be written."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from gateway.embedded import PrivatePostgres, PrivateRedis
from tests.acceptance.gateways import COMMAND, Gateway
from tests.durable.cutting_proxy import cutting_proxy
from tests.faults.conftest import SiteOf
from tests.faults.redis_process import kill, restarted
from tests.faults.rude import Rude
from tests.faults.site import Site
from tests.faults.small_disk import SmallDisk, small_disk
from tests.faults.test_postgres_faults import restarted as postgres_restarted

FILES_MAX: Final = 256
CONNECTIONS: Final = 400
LOG_BYTES_MAX: Final = 2_000_000
REFUSED: Final = 2
#: In the embedded mode both stores are in the data folder: what fails there is told as one of these, or waits.
HONEST: Final = {200, 201, 503}
MENDED_SECONDS_MAX: Final = 20.0


def limited(words: str) -> tuple[str, ...]:
    """The command of a gateway behind what a shell does first."""
    return ("sh", "-c", f'{words}; exec {COMMAND[0]} "$@"', "sh")


@pytest.mark.faults
async def test_gateway_without_files_to_open_serves_who_is_there(site_of: SiteOf, rng: random.Random) -> None:
    """With 256 files and 400 clients some are hung up on; the process lives, and when they leave all is as before."""
    site = site_of(command=limited(f"ulimit -n {FILES_MAX}"))
    gateway = site.gateways[0]
    refused = 0

    async def broken(_: int) -> None:
        nonlocal refused
        clients = [Rude(site.addresses[0]) for _ in range(CONNECTIONS)]
        told = await asyncio.gather(*[served(one) for one in clients])
        refused += told.count(False)
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        for client in clients:
            client.close()

    async with site.running():
        pid = gateway.pid
        for turn in range(2):
            await asyncio.sleep(rng.uniform(0.3, 1))
            async with site.trouble():
                await broken(turn)
        await asyncio.sleep(1)

    print(f"{refused} of {2 * CONNECTIONS} clients were not served, the log has {len(gateway.log)} bytes")
    assert refused > 0, "the limit was never reached: this run proves nothing"
    assert gateway.pid == pid
    assert len(gateway.log) < LOG_BYTES_MAX
    await site.verdict()


async def served(client: Rude) -> bool:
    """Whether somebody took its connection and answered its first request in time."""
    try:
        async with asyncio.timeout(3):
            await client.connect()
            return await client.ask() == 200
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return False


@pytest.mark.faults
async def test_gateway_whose_log_has_no_room_works_on(site_of: SiteOf, hot: PrivateRedis, rng: random.Random) -> None:
    """Every line of its log fails with "no space left", those of an outage, too: it serves, recovers and keeps the laws."""
    site = site_of(command=limited("exec >/dev/full 2>&1"))
    gateway = site.gateways[0]
    gateway.launch()
    await site.ready()

    async def broken(_: int) -> None:
        kill(hot)
        await asyncio.sleep(rng.uniform(0, 0.5))
        await restarted(hot)

    async with site.traffic.flowing():
        pid = gateway.pid
        for turn in range(2):
            await asyncio.sleep(rng.uniform(0.5, 1))
            async with site.trouble():
                await broken(turn)
        await asyncio.sleep(1)

    assert gateway.pid == pid
    assert gateway.log == "", "its log had room"
    await site.verdict()
    assert gateway.stop() == 0


@pytest.mark.faults
@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/data"])
async def test_gateway_without_a_folder_it_can_write_says_so(short_path: Path, place: str) -> None:
    """It ends at once with status 2 and one line that names the folder; nothing of it runs on, and nothing was begun."""
    gateway = Gateway(short_path / "gateway", {"GATEWAY_DATA_DIR": place})

    status, words = await asyncio.to_thread(gateway.refused_start)

    assert status == REFUSED, words
    assert place in words
    assert len(words.splitlines()) == 1, words


@pytest.mark.faults
async def test_gateway_whose_folder_for_temporary_files_is_gone_serves(site_of: SiteOf) -> None:
    """TMPDIR names what is not there: nothing that a request needs is written there."""
    site = site_of()
    site.gateways[0].settings["TMPDIR"] = "/proc/nowhere"

    async with site.running():
        await asyncio.sleep(4)

    await site.verdict()


class Shop:
    """One sku of an embedded gateway, and how its calls are answered."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.tried = 0
        self.done = 0

    async def begin(self) -> None:
        """The sku is there, and there is none of it."""
        body = {"source": "setup", "sequence": 1, "on_hand": 0}
        assert await self._send("PUT", "/v1/stock/tee/main", body, {}) == 200

    async def adjust(self) -> int:
        """The status of one unit more, committed."""
        self.tried += 1
        key = {"Idempotency-Key": f"key-{self.tried}"}
        status = await self._send("POST", "/v1/stock/tee/main/adjust", {"delta": 1, "reason": "count"}, key)
        self.done += status == 200
        return status

    async def on_hand(self) -> int:
        """As it is told."""
        async with self._session() as session, session.get(f"{self._gateway.address}/v1/stock/tee") as answer:
            body: Any = await answer.json()
            return int(body["locations"][0]["on_hand"])

    async def until_done(self) -> float:
        """A change has succeeded; after how many seconds."""
        began_s = time.monotonic()
        while (status := await self.adjust()) != 200:
            assert status in HONEST, status
            assert time.monotonic() < began_s + MENDED_SECONDS_MAX, "it does not recover"
            await asyncio.sleep(0.1)
        return time.monotonic() - began_s

    async def _send(self, method: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> int:
        async with (
            self._session() as session,
            session.request(method, f"{self._gateway.address}{path}", json=body, headers=headers) as answer,
        ):
            await answer.read()
            return answer.status

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))


@pytest.fixture
def disk(short_path: Path) -> Iterator[SmallDisk]:
    """A file system with room for the embedded stores and a little more."""
    with small_disk(short_path / "disk", 160) as mounted:
        yield mounted


@pytest.mark.faults_root
async def test_embedded_stores_on_a_full_disk_refuse_and_recover(short_path: Path, disk: SmallDisk) -> None:
    """Redis' file and SQLite have no room: changes are refused or told as unknown, the process lives, and with room all goes on."""
    gateway = Gateway(short_path / "gateway", {"GATEWAY_DATA_DIR": str(disk.folder / "data")})
    await asyncio.to_thread(gateway.start)
    try:
        shop = Shop(gateway)
        await shop.begin()
        await shop.until_done()
        pid = gateway.pid
        disk.fill()
        told = [await shop.adjust() for _ in range(30)]
        disk.make_room()
        took_s = await shop.until_done()
        print(
            f"full: {sorted(set(told))}, {told.count(200)} of 30 done; a change succeeded {took_s:.1f} s after there was room"
        )
        assert set(told) <= HONEST
        assert 503 in told, "the disk was never too full: this run proves nothing"
        assert shop.done <= await shop.on_hand() <= shop.tried
        assert gateway.pid == pid
        assert await asyncio.to_thread(gateway.stop) == 0
    finally:
        gateway.close()


@pytest.mark.faults_root
async def test_gateway_on_a_read_only_disk_says_so(short_path: Path, disk: SmallDisk) -> None:
    """A data folder that is there and can not be written ends the start with status 2 and its name; mended, it starts."""
    gateway = Gateway(short_path / "gateway", {"GATEWAY_DATA_DIR": str(disk.folder / "data")})
    await asyncio.to_thread(gateway.start)
    assert await asyncio.to_thread(gateway.stop) == 0
    disk.set_read_only(True)

    status, words = await asyncio.to_thread(gateway.refused_start)

    assert status == REFUSED, words
    assert str(disk.folder) in words
    disk.set_read_only(False)
    await asyncio.to_thread(gateway.start)
    assert await asyncio.to_thread(gateway.stop) == 0


@pytest.fixture
def stored(disk: SmallDisk) -> Iterator[PrivatePostgres]:
    """A PostgreSQL on the small disk, log and tables."""
    settings = {"max_wal_size": "32MB", "min_wal_size": "32MB", "shared_buffers": "16MB"}
    server = PrivatePostgres(disk.folder / "postgres", "wheel", settings=settings, fsync=False)
    server.start()
    yield server
    server.stop()


@pytest.mark.faults_root
async def test_postgres_on_a_full_disk_loses_nothing_that_was_answered(
    site_of: SiteOf, stored: PrivatePostgres, disk: SmallDisk, rng: random.Random
) -> None:
    """It can write neither rows nor its log: sales wait or are told as unknown, holds go on, and with room all is flushed."""
    async with cutting_proxy(stored.url) as (proxy, way):
        site: Site = site_of(url=stored.url, postgres_way=way)

        async def broken(_: int) -> None:
            disk.fill()
            await asyncio.sleep(rng.uniform(2, 4))
            disk.make_room()
            if not stored.is_running:  # it ends itself when it can not write its log
                await postgres_restarted(stored)
                proxy.lead_to(stored.url)
                site.postgres_url = stored.url

        await site.ordeal(rng, broken, range(2), (0.5, 1.5))

        told = site.gateways[0].log.count("No space left on device")
        print(f"the flusher was told {told} times that there is no space")
        assert told > 0, "the disk was never too full: this run proves nothing"
        await site.verdict()
