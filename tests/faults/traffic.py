"""Seeded traffic over HTTP: buyers and sources who resend what got no answer, under the same key or sequence."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from tests.faults.history import Call, History
from tests.faults.laws_of_effects import AUDIT
from tests.faults.request import Client, Request

CLIENTS: Final = 10
#: Two shared cores carry the gateway, both stores and this: a breath between two requests of a client.
PAUSE_SECONDS_MAX: Final = 0.06
ANSWER_SECONDS_MAX: Final = 4.0
ATTEMPTS_MAX: Final = 8
#: After this the audit asks once for each: of a gateway that does not answer there is enough to tell.
AUDIT_SECONDS_MAX: Final = 15.0
#: On hand at the start: one sku that everybody wants, some that are plenty, two of which there is one.
STOCK: Final = {"hot/main": 60, "a/main": 400, "a/depot": 200, "b/main": 400, "c/main": 300, "d/main": 1, "e/main": 1}
WEIGHTS: Final = {
    "reserve": 40,
    "confirm": 16,
    "release": 12,
    "extend": 6,
    "fulfil": 6,
    "put": 4,
    "adjust": 5,
    "get": 5,
    "stock": 3,
    "batch": 8,
}
TIERS: Final = """
[tiers.flash]
ttl_seconds = 1
ttl_seconds_max = 3
lifetime_seconds_max = 6
"""


class Traffic:
    """Many clients on one shop. `addresses` says which gateways there are at this moment."""

    def __init__(self, seed: str, addresses: Callable[[], Sequence[str]], shop: str, history: History) -> None:
        self.history = history
        self._seed = seed
        self._addresses = addresses
        self._shop = shop
        self._ids: list[str] = []
        self._counts: Counter[str] = Counter()
        self._has_ended = asyncio.Event()
        self._batches = 0
        #: How a client of this name is made; a test may want one that sends otherwise.
        self.client: Callable[..., Client] = Client

    @asynccontextmanager
    async def flowing(self, clients: int = CLIENTS) -> AsyncIterator[None]:
        """Inside, the clients are at work; at the end each has its last answer."""
        async with _session() as session:
            await self._stock_up(Client("setup", session, self._shop, self.history))
            made = [
                _Buyer(self, self.client(f"c{at}", session, self._shop, self.history), f"{self._seed}-{at}")
                for at in range(clients)
            ]
            tasks = [asyncio.create_task(buyer.run()) for buyer in made]
            try:
                yield
            finally:
                self._has_ended.set()
                await asyncio.gather(*tasks)

    async def audit(self) -> None:
        """Every reservation that was ever told has been asked for."""
        async with _session() as session:
            client = Client(AUDIT, session, self._shop, self.history)
            told = {str(call.told["id"]) for call in self.history.calls if call.is_done and "id" in call.told}
            end_s = time.monotonic() + AUDIT_SECONDS_MAX
            for id in sorted(told):
                for attempt in range(1, ATTEMPTS_MAX + 1):
                    call = await client.send(
                        Request("get", subject=id), self._addresses()[0], attempt=attempt, seconds=ANSWER_SECONDS_MAX
                    )
                    if not _is_open(call) or time.monotonic() > end_s:
                        break
                    await asyncio.sleep(0.2)

    async def _stock_up(self, client: Client) -> None:
        for subject, on_hand in STOCK.items():
            body = {"source": "setup", "sequence": 1, "on_hand": on_hand}
            call = await client.send(Request("put", body, subject=subject), self._addresses()[0], seconds=10)
            assert call.is_done, call

    # -- what the buyers share ------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Whether it is time to stop."""
        return self._has_ended.is_set()

    def address(self, rng: random.Random) -> str:
        """Some gateway."""
        return rng.choice(list(self._addresses()))

    def new_name(self, client: str) -> str:
        """A key, or a reference, that nobody else has."""
        self._counts[client] += 1
        return f"{client}-{self._counts[client]}"

    def next_batch(self) -> int:
        """Its number."""
        self._batches += 1
        return self._batches

    def learn(self, call: Call) -> None:
        """A reservation that was made may be somebody's next."""
        if call.operation == "reserve" and call.is_done and call.told["id"] not in self._ids[-60:]:
            self._ids.append(call.told["id"])

    def some_id(self, rng: random.Random) -> str | None:
        """A reservation, mostly a young one."""
        if not self._ids:
            return None
        return rng.choice(self._ids[-30:] if rng.random() < 0.9 else self._ids)


class _Buyer:
    """One client: one request after the other, by a generator of its own."""

    def __init__(self, traffic: Traffic, client: Client, seed: str) -> None:
        self._traffic = traffic
        self._client = client
        self._rng = random.Random(seed)

    async def run(self) -> None:
        """Requests until the traffic ends."""
        rng = self._rng
        while not self._traffic.has_ended:
            (operation,) = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
            if operation == "batch":
                await self._batch()
            elif (request := self._request(operation)) is not None:
                if operation == "reserve" and request.key is not None and rng.random() < 0.1:
                    await asyncio.gather(self._until_known(request), self._until_known(request))
                else:
                    await self._until_known(request)
            await asyncio.sleep(rng.random() * PAUSE_SECONDS_MAX)

    async def _until_known(self, request: Request) -> None:
        """Resent until somebody says what became of it. Without a key a second try would be a second hold."""
        attempts = 1 if request.operation == "reserve" and request.key is None else ATTEMPTS_MAX
        for attempt in range(1, attempts + 1):
            address = self._traffic.address(self._rng)
            call = await self._client.send(request, address, attempt=attempt, seconds=self._patience(attempt))
            self._traffic.learn(call)
            if not _is_open(call):
                return
            await self._breathe(attempt)

    async def _batch(self) -> None:
        operations = self._rng.choices(["reserve", "confirm", "release", "extend", "fulfil", "adjust"], k=4)
        requests, ids = [], set()
        for request in map(self._request, operations):
            # One reservation once: only then is the batch safe to send again.
            if request is None or request.ack or request.subject in ids or (request.key, request.subject) == (None, ""):
                continue
            if request.subject.startswith("rsv_"):
                ids.add(request.subject)
            requests.append(request)
        if not requests:
            return
        number = self._traffic.next_batch()
        for attempt in range(1, ATTEMPTS_MAX + 1):
            address = self._traffic.address(self._rng)
            calls = await self._client.send_batch(
                requests, address, number=number, attempt=attempt, seconds=self._patience(attempt)
            )
            for call in calls:
                self._traffic.learn(call)
            if not any(map(_is_open, calls)):
                return
            await self._breathe(attempt)

    def _patience(self, attempt: int) -> float:
        """Some clients hang up almost at once, and come again."""
        if attempt == 1 and self._rng.random() < 0.04:
            return self._rng.uniform(0.001, 0.02)
        return ANSWER_SECONDS_MAX

    async def _breathe(self, attempt: int) -> None:
        await asyncio.sleep(min(0.05 * 2**attempt, 1.0) * (0.5 + self._rng.random() / 2))

    def _request(self, operation: str) -> Request | None:
        rng = self._rng
        if operation == "reserve":
            return self._reserve()
        if operation == "stock":
            return Request("stock", subject=rng.choice(list(STOCK)).split("/")[0])
        if operation in {"put", "adjust"}:
            return self._stock_write(operation, rng.choice(list(STOCK)))
        id = self._traffic.some_id(rng)
        if id is None:
            return None
        body: dict[str, object] = {}
        if operation == "confirm":
            body = {"if_expired": rng.choice(["reject", "reject", "reacquire"]), "fulfil": rng.random() < 0.1}
        elif operation == "extend":
            body = rng.choice([{}, {"tier": "cart"}, {"tier": "flash", "ttl_seconds": 2}])
        return Request(operation, body, subject=id)

    def _reserve(self) -> Request:
        rng, name = self._rng, self._traffic.new_name(self._client.name)
        lines = []
        for place in rng.sample(list(STOCK), rng.choice([1, 1, 1, 2])):
            sku, location = place.split("/")
            line = {"sku": sku, "quantity": rng.choice([1, 1, 2, 3])}
            lines.append(line if rng.random() < 0.2 else line | {"location": location})
        body: dict[str, object] = {"lines": lines, "reference": name}
        if rng.random() < 0.6:
            body |= {"tier": "flash", "ttl_seconds": rng.choice([1, 1, 2, 3])}
        if rng.random() < 0.05:
            body["allow_partial"] = True
        ack = "durable" if rng.random() < 0.15 else ""
        return Request("reserve", body, key=None if rng.random() < 0.05 else name, ack=ack)

    def _stock_write(self, operation: str, subject: str) -> Request:
        rng, name = self._rng, self._traffic.new_name(self._client.name)
        if operation == "adjust":
            body = {"delta": rng.choice([1, 2, 5, -1]), "reason": "count", "reference": name}
            return Request("adjust", body, key=name, subject=subject)
        least = STOCK[subject]
        body = {
            "source": self._client.name,
            "sequence": int(name.split("-")[1]),
            "on_hand": rng.randint(least, 2 * least),
        }
        return Request("put", body, subject=subject)


def _is_open(call: Call) -> bool:
    """Whether the client still has to ask: no answer, an unknown one, or "later"."""
    return call.answer is None or call.is_unknown or call.answer.status in {429, 500, 503}


def _session() -> aiohttp.ClientSession:
    """Connections without a limit, each answer's cookies forgotten."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())
