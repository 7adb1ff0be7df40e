"""Answers of Redis are lost on the wire, over real HTTP: one key has one effect, whatever is sent how often."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.app.http import HttpServer
from tests.app.lossy import LossyWire, lossy_wire
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

BUYERS = 6
CALLS = 20
ATTEMPTS_MAX = 60
ANSWERS_S_MAX = 90  # in which all is answered, however much is lost


class Client:
    """Asks again, with the same key or on the same reservation, as long as the gateway is not sure."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address
        self.outcomes: Counter[str] = Counter()

    async def once(self, method: str, path: str, body: object = None, key: str = "") -> tuple[int, dict[str, Any]]:
        """The status and body of one attempt."""
        headers = {"Idempotency-Key": key} if key else {}
        async with self._session.request(method, self._address + path, json=body, headers=headers) as answer:
            told = await answer.json(content_type=None)
        self.outcomes[str(told.get("outcome", answer.status))] += 1
        return answer.status, told

    async def until_sure(
        self, method: str, path: str, body: object = None, key: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """The first answer that is no 503."""
        for _ in range(ATTEMPTS_MAX):
            status, told = await self.once(method, path, body, key)
            if status != 503:
                return status, told
            await asyncio.sleep(0.005)
        raise AssertionError(f"{method} {path} was not answered in {ATTEMPTS_MAX} attempts")


@asynccontextmanager
async def shop(stores: Stores, folder: Path, seed: int) -> AsyncIterator[tuple[Gateway, LossyWire, Client]]:
    """A gateway behind a wire that loses answers, and a client of its HTTP."""
    print("seed", seed)
    async with lossy_wire(stores.redis_url, folder, random.Random(seed)) as (wire, url):
        stores.redis_url = url
        async with running(stores) as gateway:
            server = HttpServer(stores.settings(), gateway)
            await server.start()
            try:
                async with aiohttp.ClientSession() as session, asyncio.timeout(ANSWERS_S_MAX):
                    yield gateway, wire, Client(session, server.address)
            finally:
                wire.lose(one_in=0)
                await server.drain()


def line(quantity: int, sku: str = "tee") -> dict[str, Any]:
    """The body of a reserve."""
    return {"lines": [{"sku": sku, "quantity": quantity}]}


async def test_lost_replies_with_keys_have_one_effect_each(stores: Stores, short_path: Path) -> None:
    """Every keyed call that was repeated until it was answered happened once: holds, sales, corrections and counts add up."""
    seed = random.randrange(1 << 30)
    async with shop(stores, short_path, seed) as (gateway, wire, client):
        await gateway.put("tee", 100_000, ack="durable")
        wire.lose(one_in=12)
        ids: dict[str, str] = {}
        kept: Counter[str] = Counter()

        async def buy(buyer: int) -> None:
            for number in range(CALLS):
                key = f"{buyer}-{number}"
                status, held = await client.until_sure("POST", "/v1/reservations", line(2), key)
                assert status == 201, held
                ids[key] = held["id"]
                ending = ("kept", "confirm", "release")[number % 3]
                kept[ending] += 1
                if ending != "kept":
                    status, told = await client.until_sure("POST", f"/v1/reservations/{held['id']}/{ending}")
                    assert status == 200, told
                status, told = await client.until_sure(
                    "POST", "/v1/stock/tee/main/adjust", {"delta": 3, "reason": "found"}, f"fix-{key}"
                )
                assert status == 200, told
                status, told = await client.until_sure(
                    "PUT", f"/v1/stock/mug-{buyer}/main", {"source": "erp", "sequence": number + 1, "on_hand": number}
                )
                assert status == 200, told
                status, again = await client.until_sure("POST", "/v1/reservations", line(2), key)
                assert (status, again["id"]) == (201, held["id"])

        await asyncio.gather(*[buy(buyer) for buyer in range(BUYERS)])
        wire.lose(one_in=0)
        assert wire.lost > 5
        level = (await client.until_sure("GET", "/v1/stock/tee"))[1]
        assert len(set(ids.values())) == BUYERS * CALLS
        assert level["held"] == 2 * kept["kept"]
        assert level["committed"] == 2 * kept["confirm"]
        assert level["on_hand"] == 100_000 + 3 * BUYERS * CALLS
        await gateway.flush()
        assert await gateway.violations() == []
        assert await stored_reservations(gateway) == set(ids.values())


async def stored_reservations(gateway: Gateway) -> set[str]:
    """The ids of every reservation in the durable store."""
    found: set[str] = set()
    cursor: str | None = None
    while True:
        page = await gateway.reservations.search(
            gateway.call(), reference=None, customer=None, sku=None, state=None, limit=100, cursor=cursor
        )
        found |= {str(one.id) for one in page.reservations}
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_lost_replies_without_keys_are_told_truly(stores: Stores, short_path: Path) -> None:
    """A reserve without a key is sent again only where it is recognised: a 201 is one hold, a 503 may be one or none."""
    seed = random.randrange(1 << 30)
    async with shop(stores, short_path, seed) as (gateway, wire, client):
        await gateway.put("tee", 100_000, ack="durable")
        wire.lose(one_in=5)
        ids: list[str] = []
        unsure: list[str] = []

        async def buy() -> None:
            for _ in range(CALLS):
                status, told = await client.once("POST", "/v1/reservations", line(1))
                if status == 201:
                    ids.append(told["id"])
                else:
                    assert status == 503, told
                    unsure.append(told["outcome"])

        await asyncio.gather(*[buy() for _ in range(BUYERS)])
        wire.lose(one_in=0)
        assert wire.lost > 2
        held = (await client.until_sure("GET", "/v1/stock/tee"))[1]["held"]
        assert len(set(ids)) == len(ids)
        assert len(ids) <= held <= len(ids) + unsure.count("unknown")
        assert len(ids) > BUYERS * CALLS / 2
        await gateway.flush()
        assert set(ids) <= await stored_reservations(gateway)
        assert await gateway.violations() == []


@pytest.mark.parametrize("key", ["", "cart-1"])
async def test_lost_replies_of_the_last_unit_sell_it_once(stores: Stores, short_path: Path, key: str) -> None:
    """The answer to the hold of the last unit is lost: the call recognises itself, and nobody else gets the unit."""
    async with shop(stores, short_path, 1) as (gateway, wire, client):
        await gateway.put("tee", 1, ack="durable")
        wire.lose(one_in=1)
        first = asyncio.create_task(client.until_sure("POST", "/v1/reservations", line(1), key))
        while not wire.lost:  # noqa: ASYNC110 - bounded by the shop's time
            await asyncio.sleep(0)
        wire.lose(one_in=0)
        status, held = await first
        assert status == 201
        status, told = await client.once("POST", "/v1/reservations", line(1), "cart-2")
        assert (status, told["code"]) == (409, "out_of_stock")
        assert (await client.once("GET", f"/v1/reservations/{held['id']}"))[1]["state"] == "held"
