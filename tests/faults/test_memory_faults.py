"""The memory of Redis is full, or somebody lets it throw keys away, while traffic flows."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import pairwise
from typing import Any

import pytest
import redis

from gateway.embedded import PrivateRedis
from tests.faults.conftest import SiteOf
from tests.faults.history import random_part
from tests.faults.reading import read_stores
from tests.faults.replicated import client_of, until
from tests.faults.request import Client, Request
from tests.faults.site import Site
from tests.faults.traffic import ANSWER_SECONDS_MAX
from tests.faults.window import Window

pytestmark = pytest.mark.faults

ROOM_BYTES = 1024 * 1024
#: The product looks every two seconds; the design promises ten.
REFUSED_SECONDS_MAX = 10.0


async def test_redis_full_refuses_what_is_new_and_ends_what_is_old(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """maxmemory is reached: no new hold, and the answer says that nothing happened; sales, releases and expiries go on.

    With more room everything works again, by itself.
    """
    site = site_of()
    expected: list[tuple[str, Window]] = []

    async def broken(turn: int) -> None:
        async with site.client(f"shopper{turn}") as shopper:
            ids = [await hold(site, shopper, rng, f"shopper{turn}-{at}", at) for at in range(9)]
            with client_of(hot) as client:
                client.config_set("maxmemory", client.info("memory")["used_memory"] + ROOM_BYTES)
                fill(client, rng)
                window = Window(site.history)
                for id in ids[:6]:
                    await asyncio.sleep(rng.uniform(0.1, 0.3))
                    fill(client, rng)
                    request = Request(rng.choice(["confirm", "release"]), subject=id)
                    told = await shopper.send(request, site.addresses[0], seconds=ANSWER_SECONDS_MAX)
                    assert told.is_done, told
                await until(lambda: not are_held(client, ids[6:]), 10)
                await window.until(lambda: window.told("reserve")["hot_store_unavailable", "not_applied"])
                window.close()
                client.config_set("maxmemory", 0)
                client.delete("filler")
        expected.extend((random_part(id), window) for id in ids[6:])
        print(f"while full: {dict(window.told())}")
        assert {outcome for code, outcome in window.told() if code == "hot_store_unavailable"} == {"not_applied"}
        ended = ("confirm", "release", "fulfil")
        assert "hot_store_unavailable" not in {code for code, _ in window.told(*ended)}

    await site.ordeal(rng, broken, range(2), (1, 2))

    await site.verdict()
    rows = (await read_stores(hot.url, site.postgres_url)).rows
    for id, window in expected:
        expiries = [row.at_ms for row in rows if row.type == "stock.expired" and id in row.payload]
        assert [at_ms for at_ms in expiries if at_ms <= window.end_ms], f"{id} did not expire while Redis was full"


async def hold(site: Site, client: Client, rng: random.Random, name: str, at: int) -> str:
    """The id of a new hold: the first six last for minutes, the others for a second."""
    life = {} if at < 6 else {"tier": "flash", "ttl_seconds": 1}
    line = {"sku": rng.choice(["a", "b", "c"]), "quantity": 1}
    request = Request("reserve", {"lines": [line], "reference": name} | life, key=name)
    call = await client.send(request, site.addresses[0], seconds=ANSWER_SECONDS_MAX)
    assert call.is_done, call
    return str(call.told["id"])


def are_held(client: Any, ids: list[str]) -> bool:
    """Whether one of these is still an open hold for Redis."""
    return any(client.zscore(index, random_part(id)) for index in client.scan_iter("{rg0}:*:d:*") for id in ids)


def fill(client: Any, rng: random.Random) -> None:
    """There is no room for a kB more."""
    while True:
        try:
            client.rpush("filler", rng.randbytes(1000))
        except redis.OutOfMemoryError:
            return


@pytest.mark.parametrize("evicted", ["nothing", "whatever comes"])
async def test_redis_that_may_evict_is_not_worked_with(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random, evicted: str
) -> None:
    """maxmemory-policy is changed under load: within seconds nothing is sold, and /readyz says why; changed back, all goes on.

    Where keys were thrown away meanwhile the shard is rebuilt, else it is as it was.
    """
    site = site_of(gateways=2)
    site.is_hot_lost = evicted != "nothing"
    epochs: list[int] = []

    async def broken(_: int) -> None:
        epochs.append((await site.committed())[0])
        with client_of(hot) as client:
            client.rpush("filler", *[rng.randbytes(1000) for _ in range(4000)])
            client.config_set("maxmemory-policy", rng.choice(["allkeys-lru", "allkeys-lfu", "allkeys-random"]))
            await until_refused(site)
            window = Window(site.history)
            await asyncio.sleep(rng.uniform(0.5, 1))
            await window.until(lambda: window.calls("reserve"))
            if evicted != "nothing":
                before = client.info("stats")["evicted_keys"]
                client.config_set("maxmemory", client.info("memory")["used_memory"] - rng.randint(1_000_000, 3_000_000))
                await until(lambda: bool(client.get("nobody") or client.info("stats")["evicted_keys"] > before), 10)
                client.config_set("maxmemory", 0)
            window.close()
            client.config_set("maxmemory-policy", "noeviction")
            client.delete("filler")
        assert window.done("reserve", "confirm", "release", "put", "adjust") == 0
        assert set(window.told("reserve")) == {("shard_recovering", "not_applied")}

    await site.ordeal(rng, broken, range(2), (0.5, 1.5))

    epochs.append((await site.committed())[0])
    is_rebuilt = [after > before for before, after in pairwise(epochs)]
    assert is_rebuilt == [evicted != "nothing"] * 2
    await site.verdict()


async def until_refused(site: Site) -> None:
    """No gateway is ready, and each says that the policy is why."""
    end_s = time.monotonic() + REFUSED_SECONDS_MAX
    for at in range(len(site.gateways)):
        while "maxmemory-policy" not in str(told := await site.readiness(at)):
            assert time.monotonic() < end_s, f"gateway {at} goes on: {told}"
            await asyncio.sleep(0.05)
