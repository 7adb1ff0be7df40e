"""The database is restored from a backup while Redis goes on: the shard halts, nothing is sold, and the operator ends it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.embedded import PrivatePostgres
from tests.acceptance.gateways import Gateway
from tests.cli.playing import command
from tests.cli.test_command import CLEAN
from tests.durable.cutting_proxy import cutting_proxy
from tests.faults import laws_of_log, laws_of_stores
from tests.faults.account import Account
from tests.faults.conftest import SiteOf
from tests.faults.reading import read_stores
from tests.faults.site import SHOP, Site
from tests.faults.test_postgres_faults import restarted, stored

pytestmark = pytest.mark.faults

__all__ = ["stored"]

HALTED_SECONDS_MAX = 30.0
#: What sells, or promises: none of it succeeds on a halted shard.
PROMISES = frozenset({"reserve", "confirm", "extend", "fulfil", "release", "put", "adjust"})


async def test_backup_restored_under_load_halts_until_the_operator_decides(
    site_of: SiteOf, stored: PrivatePostgres, rng: random.Random, short_path: Path
) -> None:
    """Two gateways, a database of some seconds ago: they halt, sell nothing, and go on by the database when they are told to."""
    cluster, backup = short_path / "postgres" / "cluster", short_path / "backup"
    async with cutting_proxy(stored.url) as (proxy, way):
        site = site_of(url=stored.url, postgres_way=way, gateways=2)

        async def back() -> None:
            await restarted(stored)
            proxy.lead_to(stored.url)
            site.postgres_url = stored.url

        async with site.running():
            await asyncio.sleep(rng.uniform(0.8, 2.0))
            await asyncio.to_thread(stored.stop)
            copied(cluster, backup)
            await back()
            await site.ready()
            await asyncio.sleep(rng.uniform(1.0, 2.0))
            assert stored.pid is not None
            os.kill(stored.pid, signal.SIGKILL)
            await until(lambda: not stored.is_running)
            copied(backup, cluster)
            await back()
            for gateway, address in zip(site.gateways, site.addresses, strict=True):
                await halted(gateway, address)
            since_s = time.monotonic()
            await asyncio.sleep(1.5)
        promised = [call for call in site.history.calls if call.start_s > since_s and call.operation in PROMISES]
        assert len(promised) > 20
        assert [call for call in promised if call.is_done] == []
        assert {call.told.get("outcome") for call in promised if call.answer is not None} == {"not_applied"}
        assert "shard_halted" in {call.told.get("code") for call in promised}

        shown = await repair(site, "--plan")
        assert shown[0] == 1, shown
        assert "--adopt-redis is not possible" in shown[1]
        done = await repair(site, "--apply", "--adopt-database", "--reason", "the disk died", "--yes")
        assert done[0] == 0, done
        await site.ready()
        await told_the_truth(site)


def copied(cluster: Path, to: Path) -> None:
    """The data folder of a server that does not run is there, with its owner and rights, and nothing else is."""
    subprocess.run(["rm", "-rf", str(to)], check=True)
    subprocess.run(["cp", "-a", str(cluster), str(to)], check=True)
    (to / "postmaster.pid").unlink(missing_ok=True)


async def until(is_so: Callable[[], bool]) -> None:
    """It has come to that."""
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - a process ends without a word
            await asyncio.sleep(0.05)


async def halted(gateway: Gateway, address: str) -> None:
    """This gateway says that it waits for its operator, and why."""
    end_s = time.monotonic() + HALTED_SECONDS_MAX
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{address}/readyz") as answer:
                told = await answer.text()
                if answer.status == 503 and "restored from a backup" in told:
                    return
            assert time.monotonic() < end_s, f"{told}\n{gateway.log[-3000:]}"
            await asyncio.sleep(0.1)


async def repair(site: Site, *words: str) -> tuple[int, str, str]:
    """The command, said to the first gateway."""
    return await command("repair", "--url", site.addresses[0], *words, environ=CLEAN)


async def told_the_truth(site: Site) -> None:
    """Log and stores obey the laws; what clients were told of is there or told as lost; and it sells again."""
    address = site.addresses[0]
    lost = there = 0
    async with aiohttp.ClientSession() as session:
        for id in sorted({str(call.told["id"]) for call in site.history.calls if call.is_done and "id" in call.told}):
            async with session.get(f"{address}/v1/reservations/{id}", params={"shop": SHOP}) as answer:
                body = await answer.json()
                assert answer.status == 200 or body["code"] == "reservation_lost", body
                lost, there = lost + (answer.status == 410), there + (answer.status == 200)
        assert lost > 0
        assert there > 0
        count = {"source": "after", "sequence": 1, "on_hand": 3}
        async with session.put(f"{address}/v1/stock/after/main", json=count, params={"shop": SHOP}) as answer:
            assert answer.status == 200, await answer.text()
        held = await post(session, f"{address}/v1/reservations", {"lines": [{"sku": "after", "quantity": 2}]})
        await post(session, f"{address}/v1/reservations/{held['id']}/confirm", {})
        for each in site.addresses:
            async with session.get(f"{each}/v1/admin/conservation") as answer:
                assert (await answer.json())["violations"] == []
    await site._calm()
    account = Account(await read_stores(site.redis.url, site.postgres_url), SHOP)
    found = [*laws_of_log.adds_up(account), *laws_of_log.is_chained(account), *laws_of_log.ends_once(account)]
    found += [*laws_of_stores.stores_agree(account), *laws_of_stores.holds_add_up(account)]
    assert [str(one) for one in found] == []
    print(
        f"{len(site.history.calls)} calls, {lost} reservations told as lost, {there} there, epoch {account.stores.epoch}"
    )


async def post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a call that succeeds."""
    async with session.post(url, json=body, params={"shop": SHOP}) as answer:
        told: dict[str, Any] = await answer.json()
        assert answer.status in (200, 201), told
        return told
