"""A deployment to break: gateways, a Redis and a PostgreSQL of its own, traffic on it, and the verdict at the end."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import aiohttp

from gateway.embedded import PrivateRedis
from gateway.embedded.address import free_port
from tests.acceptance.gateways import COMMAND, Gateway
from tests.faults.checker import check
from tests.faults.history import Circumstances, History
from tests.faults.reading import checkpoint_and_epoch, epoch_and_digests, lag_of, read_stores
from tests.faults.request import Client
from tests.faults.stores import Stores
from tests.faults.traffic import TIERS, Traffic

READY_SECONDS_MAX: Final = 20.0
CALM_SECONDS_MAX: Final = 25.0
#: A deadline that is further away than this does not fall due while the stores are read.
CALM_AHEAD_SECONDS: Final = 20.0
SHOP: Final = "fault"
#: Names a folder that gets the history and the logs of a run that failed.
KEEP_VARIABLE: Final = "FAULT_KEEP"
DONE_MIN: Final = 100

T = TypeVar("T")


class Site:
    """One deployment with fixed addresses. `redis` and `postgres_url` are the stores themselves, not the ways to them."""

    def __init__(
        self,
        folder: Path,
        seed: str,
        redis: PrivateRedis,
        postgres_url: str,
        *,
        gateways: int = 1,
        redis_way: str | None = None,
        postgres_way: str | None = None,
        command: Sequence[str] = COMMAND,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing runs yet but the stores. The `ways` are what the gateways are given instead, proxies before the stores.

        `command` is what `serve` is said to; `settings` are variables of the gateways that go over ours.
        """
        self.redis = redis
        self.postgres_url = postgres_url
        self.history = History()
        self.is_hot_lost = False
        self.clock_off_ms = 0
        self._folder = folder
        self._troubled_ms: list[tuple[int, int]] = []
        self._healed_s: float | None = None
        tiers = folder / "tiers.toml"
        tiers.write_text(TIERS)
        given = {
            "GATEWAY_CONFIG": str(tiers),
            "GATEWAY_REDIS_URL": redis_way or redis.url,
            "GATEWAY_DATABASE_URL": postgres_way or postgres_url,
            "GATEWAY_REDIS__COMMAND_TIMEOUT_MS": "500",
            "GATEWAY_ACK__TIMEOUT_MS": "1500",
            **(settings or {}),
        }
        ports = [free_port() for _ in range(gateways)]
        self.addresses = [f"http://127.0.0.1:{port}" for port in ports]
        self.gateways = [
            Gateway(folder / f"gateway-{at}", given | {"GATEWAY_PORT": str(port)}, command)
            for at, port in enumerate(ports)
        ]
        self.traffic = Traffic(seed, lambda: self.addresses, SHOP, self.history)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside, the gateways run and traffic flows; when it is left the traffic has ended, and the gateways run on."""
        for gateway in self.gateways:
            await asyncio.to_thread(gateway.start)
        async with self.traffic.flowing():
            yield

    async def ordeal(
        self, rng: random.Random, broken: Callable[[T], Awaitable[None]], over: Iterable[T], calm_s: tuple[float, float]
    ) -> None:
        """With traffic flowing, `broken` was awaited for each of `over`, after a random time of calm, and all was ready again.

        `broken` breaks something and mends it.
        """
        async with self.running():
            for each in over:
                await asyncio.sleep(rng.uniform(*calm_s))
                async with self.trouble():
                    await broken(each)
            await asyncio.sleep(1)

    def close(self) -> None:
        """No gateway runs any more."""
        for gateway in self.gateways:
            gateway.close()

    @asynccontextmanager
    async def trouble(self) -> AsyncIterator[None]:
        """Inside, something is broken, and mended at the end; afterwards every gateway is ready again."""
        begun_ms = time.time_ns() // 1_000_000
        yield
        self._healed_s = time.monotonic()
        await self.ready()
        self._troubled_ms.append((begun_ms, time.time_ns() // 1_000_000))

    async def ready(self) -> None:
        """Every gateway says so."""
        for at in range(len(self.gateways)):
            await self.ready_at(at)

    async def ready_at(self, at: int) -> None:
        """One gateway says so."""
        gateway, address = self.gateways[at], self.addresses[at]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            end_s = time.monotonic() + READY_SECONDS_MAX
            while (told := await _ready(session, address)) != 200:
                assert time.monotonic() < end_s, f"{address} is not ready: {told}\n{gateway.log[-3000:]}"
                await asyncio.sleep(0.05)

    async def reopened(self, epoch: int) -> None:
        """The shard has been opened under a later epoch than this one, and every gateway is ready."""
        end_s = time.monotonic() + READY_SECONDS_MAX
        while (await self.committed())[0] <= epoch:
            assert time.monotonic() < end_s, f"nobody opens the shard again after epoch {epoch}"
            await asyncio.sleep(0.05)
        await self.ready()

    async def readiness(self, at: int) -> int | str:
        """200, or what one gateway says instead."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            return await _ready(session, self.addresses[at])

    @asynccontextmanager
    async def client(self, name: str) -> AsyncIterator[Client]:
        """Somebody beside the traffic, who does what the test says; it is written down like the rest."""
        async with aiohttp.ClientSession() as session:
            yield Client(name, session, SHOP, self.history)

    async def progress(self) -> tuple[int, int]:
        """The checkpoint and the epoch, as they are committed at this moment."""
        return await checkpoint_and_epoch(self.postgres_url)

    async def committed(self) -> tuple[int, set[str]]:
        """The epoch, and the digests of all entries in the durable store."""
        return await epoch_and_digests(self.postgres_url)

    async def kill_gateway(self, at: int, away_s: float) -> None:
        """kill -9, and so many seconds later it is started again at its address."""
        await asyncio.to_thread(self.gateways[at].kill)
        await asyncio.sleep(away_s)
        await asyncio.to_thread(self.gateways[at].start)

    async def verdict(self) -> None:
        """Everything is at rest, and the laws held: by the checker, and by what the gateways themselves say."""
        await self._calm()
        await self.traffic.audit()
        stores = await self.stores()
        found = self.violations(stores)
        found += [f"conservation: {one}" for address in self.addresses for one in await _conservation(address)]
        if found:
            self._keep()
        told = "\n".join(found[:40])
        assert not found, f"{len(found)} violations\n{told}"
        self._prove_busy(stores)

    async def stores(self) -> Stores:
        """What stands in both stores; at rest they tell the same."""
        return await read_stores(self.redis.url, self.postgres_url)

    async def lag(self) -> tuple[int, float]:
        """Events that are not committed, and seconds until the next hold falls due."""
        return await lag_of(self.redis.url, self.postgres_url)

    def violations(self, stores: Stores) -> list[str]:
        """What the checker finds."""
        circumstances = Circumstances(
            SHOP, self.is_hot_lost, tuple(self._troubled_ms), self._healed_s, clock_off_ms=self.clock_off_ms
        )
        return [str(violation) for violation in check(self.history, stores, circumstances)]

    def _prove_busy(self, stores: Stores) -> None:
        """A run in which hardly anything happened proves nothing."""
        done = sum(call.is_done for call in self.history.calls)
        types = {row.type for row in stores.rows}
        wanted = {"stock.reserved", "stock.confirmed", "stock.released", "stock.expired", "stock.adjusted"}
        assert done >= DONE_MIN, f"only {done} calls succeeded"
        assert types >= wanted, f"only {sorted(types)} happened"
        unknown = sum(call.is_unknown for call in self.history.calls)
        lost = len({call.subject for call in self.history.calls if call.told.get("code") == "reservation_lost"})
        calls = f"{len(self.history.calls)} calls, {done} done, {unknown} unknown"
        print(f"{calls}, {lost} holds told as lost, {len(stores.rows)} events, epoch {stores.epoch}")

    async def _calm(self) -> None:
        """All is committed and nothing falls due soon, or it has not come to that in time: then the laws say what is wrong."""
        end_s = time.monotonic() + CALM_SECONDS_MAX
        while time.monotonic() < end_s:
            lag, due_s = await self.lag()
            if lag == 0 and due_s > CALM_AHEAD_SECONDS:
                return
            await asyncio.sleep(0.2)

    def _keep(self) -> None:
        if not (kept := os.environ.get(KEEP_VARIABLE)):
            return
        folder = Path(kept) / f"{time.time_ns()}"
        folder.mkdir(parents=True)
        self.history.save(folder / "history.jsonl")
        for log in self._folder.glob("gateway-*/log-*"):
            shutil.copy(log, folder / f"{log.parent.name}-{log.name}")


async def _ready(session: aiohttp.ClientSession, address: str) -> int | str:
    try:
        async with session.get(f"{address}/readyz") as answer:
            return answer.status if answer.status == 200 else await answer.text()
    except (aiohttp.ClientError, TimeoutError) as problem:
        return repr(problem)


async def _conservation(address: str) -> list[object]:
    """What the gateway's own check finds."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
        session.get(f"{address}/v1/admin/conservation") as answer,
    ):
        body = await answer.json()
        return list(body["violations"]) if answer.status == 200 else [body]
