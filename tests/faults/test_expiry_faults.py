"""Deadlines by the hundred thousand at one instant, and single ones to the millisecond."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import aiohttp
import pytest
import redis

from gateway.embedded import PrivateRedis
from tests.acceptance.gateways import COMMAND, Gateway
from tests.faults.account import Account
from tests.faults.conftest import SiteOf
from tests.faults.history import Call
from tests.faults.request import Client, Request
from tests.faults.site import Site

pytestmark = pytest.mark.faults

#: A gateway that neither sweeps nor flushes: `serve` and what follows come before the role.
WEB: Final = ("sh", "-c", f'exec {COMMAND[0]} "$@" --role web', "sh")
HOLDS: Final = 100_000
PROBES: Final = 5_000
SKUS: Final = [f"storm-{number}" for number in range(10)]
BUYERS: Final = 100
LEFT_SECONDS_MIN: Final = 2
#: What the flusher may be behind when the last hold is made: a sixth of what it does on two quiet cores.
FLUSHED_PER_SECOND_MIN: Final = 2_500
BATCH: Final = 500
#: On a quiet machine it is below two; two shared cores may take the processor away in the middle of a script.
SCRIPT_MS_MAX: Final = 1_000
BUYER_SECONDS_MAX: Final = 4.0
SWEPT_SECONDS_MAX: Final = 120.0


class Crowd:
    """Who makes the holds, in batches, and those who want the units afterwards."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.made = 0

    async def post(self, address: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer."""
        async with self._session.post(f"{address}{path}?shop=fault", json=body) as answer:
            return answer.status, await answer.json()

    async def stock_up(self, address: str) -> None:
        """All that will be held is there, and no unit more."""
        each = (HOLDS + PROBES) // len(SKUS)
        for sku in SKUS:
            body = {"source": "setup", "sequence": 1, "on_hand": each}
            async with self._session.put(f"{address}/v1/stock/{sku}/main?shop=fault", json=body) as answer:
                assert answer.status == 200, await answer.text()

    async def hold(self, address: str, count: int, until_s: float | None) -> None:
        """So many holds of one unit each, all until the instant of the monotonic clock, or for half an hour."""
        for _ in range(count // BATCH):
            # On a machine that became slow the last ones end a little later than the others; the first may be gone by then.
            seconds = 1800 if until_s is None else max(round(until_s - time.monotonic()), LEFT_SECONDS_MIN)
            operations = []
            for _ in range(BATCH):
                lines = [{"sku": SKUS[self.made % len(SKUS)], "location": "main", "quantity": 1}]
                operations.append({"op": "reserve", "body": {"lines": lines, "ttl_seconds": seconds, "tier": "cart"}})
                self.made += 1
            status, body = await self.post(address, "/v1/batch", {"operations": operations})
            assert status == 200, body
            assert Counter(one["status"] for one in body["results"]) == {201: BATCH}

    async def buy(self, site: Site, at: int, sku: str) -> float:
        """One unit of what is sold out but for what is due; returns how long that took."""
        self.made += 1
        body = {"lines": [{"sku": sku, "location": "main", "quantity": 1}], "reference": f"buyer-{self.made}"}
        client = Client("buyer", self._session, "fault", site.history)
        call = await client.send(Request("reserve", body), site.addresses[at], seconds=30)
        assert call.is_done, call
        return call.end_s - call.start_s


@pytest.mark.alone
@pytest.mark.timeout(400)
async def test_hundred_thousand_holds_expire_at_one_instant(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """Nobody sweeps when they fall due: who wants the units has them all the same; then three gateways sweep at once.

    Each hold ends once, none that was not due does, and no script takes long.
    """
    site = site_of(gateways=4)
    sweeping, web = site.gateways[0], Gateway(site.gateways[1].folder, site.gateways[1].settings, WEB)
    site.gateways[1] = web
    for gateway in site.gateways:
        gateway.settings["GATEWAY_REDIS__COMMAND_TIMEOUT_MS"] = "5000"
    for gateway in (sweeping, web):
        await asyncio.to_thread(gateway.start)
    async with crowd() as people:
        await people.stock_up(site.addresses[0])
        began_s = time.monotonic()
        await people.hold(site.addresses[0], PROBES, None)
        probed_s = time.monotonic() - began_s
        due_s = time.monotonic() + 1.4 * probed_s * HOLDS / PROBES + HOLDS / FLUSHED_PER_SECOND_MIN
        await people.hold(site.addresses[0], HOLDS, due_s)
        made_s = time.monotonic() - began_s
        due_s = max(due_s, time.monotonic() + LEFT_SECONDS_MIN)
        with redis.Redis.from_url(hot.url) as client:
            client.config_set("slowlog-max-len", 10_000)
            client.config_set("slowlog-log-slower-than", 1_000)
            client.slowlog_reset()
        await committed(site)
        assert time.monotonic() < due_s, "the first fell due, and were swept, before the last was committed"

        async with site.trouble():
            sweeping.signal(signal.SIGSTOP)
            await asyncio.sleep(max(due_s + 1 - time.monotonic(), 0))
            took_s = [await people.buy(site, 1, rng.choice(SKUS)) for _ in range(BUYERS)]
            sweeping.signal(signal.SIGCONT)
            swept_s = time.monotonic()
            for gateway in site.gateways[2:]:
                await asyncio.to_thread(gateway.start)
            await swept(hot)
            swept_s = time.monotonic() - swept_s
        took_s += [await people.buy(site, at, SKUS[at]) for at in range(len(site.gateways))]

    slowest_ms = slowest_script_ms(hot)
    print(
        f"{people.made} holds made in {made_s:.0f} s;"
        f" {len(took_s)} buyers while nobody swept, the slowest {max(took_s):.2f} s;"
        f" swept by three in {swept_s:.0f} s, slowest script {slowest_ms:.1f} ms"
    )
    assert max(took_s) < BUYER_SECONDS_MAX
    assert slowest_ms < SCRIPT_MS_MAX
    await committed(site)
    await site.traffic.audit()
    stores = await site.stores()
    assert site.violations(stores) == []
    assert Counter(row.type for row in stores.rows)["stock.expired"] == HOLDS
    assert sum(len(holds) for holds in stores.hot_holds.values()) == PROBES + len(took_s)


async def committed(site: Site) -> None:
    """Nothing of the log is left to flush."""
    end_s = time.monotonic() + SWEPT_SECONDS_MAX
    while (await site.lag())[0]:
        assert time.monotonic() < end_s, "the flusher does not come to an end"
        await asyncio.sleep(0.2)


async def swept(hot: PrivateRedis) -> None:
    """Every sku's next deadline is of a hold for half an hour."""
    end_s = time.monotonic() + SWEPT_SECONDS_MAX
    with redis.Redis.from_url(hot.url, decode_responses=True) as client:
        due: Any = f"{{rg0}}:{client.hget('{rg0}:meta', 'gen')}:due"
        while client.zcount(due, "-inf", time.time() * 1000):
            assert time.monotonic() < end_s, "the sweepers do not come to an end"
            await asyncio.sleep(0.1)


def slowest_script_ms(hot: PrivateRedis) -> float:
    """Of all calls of scripts since the log was reset."""
    with redis.Redis.from_url(hot.url) as client:
        calls: Any = client.slowlog_get(10_000)
    return max((call["duration"] / 1000 for call in calls if call["command"].startswith(b"FCALL")), default=0.0)


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    """Some people."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield Crowd(session)


CLIENTS_AT_THE_EDGE: Final = 30
SECONDS_AT_THE_EDGE: Final = 12.0
HOLDS_OF_A_ROUND: Final = 10
EDGE_MS: Final = 2
#: What is tried at a deadline; the sweeper is the fourth who comes, and somebody reads.
AT_THE_EDGE: Final = ("confirm", "extend", "release")


async def test_operations_at_the_deadline_are_right_to_the_millisecond(site_of: SiteOf, rng: random.Random) -> None:
    """Thousands of holds are confirmed, extended and released within milliseconds of their end: one side or the other.

    What was done is before the deadline, what was refused is after it, and the sweeper comes at the same moment.
    """
    site = site_of()
    site.gateways[0].settings["GATEWAY_EXPIRY__SWEEP_MS"] = "10"

    async with site.running(), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        end_s = time.monotonic() + SECONDS_AT_THE_EDGE
        clients = [Client(f"edge-{at}", session, "fault", site.history) for at in range(CLIENTS_AT_THE_EDGE)]
        aims = [_Aim(site, client, random.Random(rng.random())) for client in clients]
        await asyncio.gather(*[aim.until(end_s) for aim in aims])

    calls = [call for aim in aims for call in aim.tried]
    done, late = sum(call.is_done for call in calls), sum(call.is_refused for call in calls)
    await site.verdict()
    near = near_deadlines(await site.stores())
    print(
        f"{len(calls)} changes at a deadline: {done} in time, {late} too late; within {EDGE_MS} ms of one: {dict(near)}"
    )
    assert min(done, late) > 100, "all were on one side of the deadline"
    assert near["stock.expired"] > 0
    assert sum(near.values()) - near["stock.expired"] > 0, "no change was near its deadline"


class _Aim:
    """One client: holds of a second, all tried at their end. It learns how long a request needs to come to the script."""

    def __init__(self, site: Site, client: Client, rng: random.Random) -> None:
        self.tried: list[Call] = []
        self._site, self._client, self._rng = site, client, rng
        self._way_s = 0.005
        self._count = 0

    async def until(self, end_s: float) -> None:
        """Rounds, one after the other."""
        await asyncio.sleep(self._rng.random())
        while time.monotonic() < end_s:
            made = await self._send([self._reserve() for _ in range(HOLDS_OF_A_ROUND)])
            done = [call for call in made if call.is_done]
            if not done:
                continue
            ids = [call.told["id"] for call in done]
            deadline_s = datetime.fromisoformat(done[-1].told["expires_at"]).timestamp()
            early_s = self._way_s + self._rng.uniform(-3 * EDGE_MS, 3 * EDGE_MS) / 1000
            await asyncio.sleep(max(deadline_s - early_s - time.time(), 0))
            self.tried += await self._send([self._try(id) for id in ids])
            # Nobody waits for a commit here, so that half of it is about the way there.
            read = await self._client.send(Request("get", subject=ids[0]), self._site.addresses[0], seconds=10)
            self._way_s = 0.7 * self._way_s + 0.3 * (read.end_s - read.start_s) / 2

    async def _send(self, requests: list[Request]) -> list[Call]:
        number = self._site.traffic.next_batch()
        return await self._client.send_batch(requests, self._site.addresses[0], number=number, seconds=10)

    def _reserve(self) -> Request:
        self._count += 1
        name = f"{self._client.name}-{self._count}"
        lines = [{"sku": self._rng.choice(["a", "b", "c"]), "quantity": 1}]
        return Request("reserve", {"lines": lines, "reference": name, "tier": "flash", "ttl_seconds": 1}, key=name)

    def _try(self, id: str) -> Request:
        operation = self._rng.choice(AT_THE_EDGE)
        return Request(operation, {"tier": "flash", "ttl_seconds": 1} if operation == "extend" else {}, subject=id)


def near_deadlines(stores: Any) -> Counter[str]:
    """How many events of each type happened within the edge of the deadline that their hold had before."""
    near: Counter[str] = Counter()
    for told in Account(stores, "fault").of_reservation.values():
        for (_, before), (event, _) in pairwise(told):
            if before.state == "held" and abs(event.row.at_ms - before.deadline_ms) <= EDGE_MS:
                near[event.row.type] += 1
    return near
