"""Seeded traffic in virtual time: the buyers of the fault suite, with longer pauses, on simulated gateways."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.faults.history import History
from tests.faults.laws_of_effects import AUDIT
from tests.faults.request import Request
from tests.faults.traffic import ANSWER_SECONDS_MAX, STOCK, WEIGHTS, Traffic, _Buyer, _is_open
from tests.simulation.client import Client, Instants
from tests.simulation.gateway import Gateway

ATTEMPTS_MAX: Final = 30
SETUP_SECONDS_MAX: Final = 10.0


class SimulatedTraffic(Traffic):
    """Many clients on one shop, each by a generator of its own."""

    def __init__(
        self,
        seed: str,
        gateways: Sequence[Gateway],
        shop: str,
        history: History,
        instants: Instants,
        pause_s_max: float,
    ) -> None:
        self.pause_s_max = pause_s_max
        self._gateways = [one for one in gateways if one.role != "work"]
        self._instants = instants
        self._probes = 0
        super().__init__(seed, lambda: [one.name for one in self._gateways], shop, history)

    def client_named(self, name: str) -> Client:
        """A client of this name."""
        return Client(name, self._shop, self.history, random.Random(f"{self._seed}-way-{name}"), self._instants)

    def address(self, rng: random.Random) -> Any:
        """Some gateway."""
        return rng.choice(self._gateways)

    @asynccontextmanager
    async def flowing(self, clients: int = 4) -> AsyncIterator[None]:
        """Inside, the clients are at work; at the end each has its last answer."""
        await self._stock_up(self.client_named("setup"))
        made = [_SimulatedBuyer(self, self.client_named(f"c{at}"), f"{self._seed}-{at}") for at in range(clients)]
        tasks = [asyncio.create_task(buyer.run()) for buyer in made]
        yield
        self._has_ended.set()
        await asyncio.gather(*tasks)

    async def _stock_up(self, client: Any) -> None:
        for subject, on_hand in STOCK.items():
            body = {"source": "setup", "sequence": 1, "on_hand": on_hand}
            for attempt in range(1, ATTEMPTS_MAX + 1):
                gateway = self._gateways[attempt % len(self._gateways)]
                request = Request("put", body, subject=subject)
                if (await client.send(request, gateway, attempt=attempt, seconds=SETUP_SECONDS_MAX)).is_done:
                    break
                await asyncio.sleep(0.2)

    async def probe(self) -> None:
        """A change has succeeded."""
        client = self.client_named("probe")
        self._probes += 1
        request = Request(
            "put", {"source": "probe", "sequence": self._probes, "on_hand": STOCK["b/main"]}, subject="b/main"
        )
        for attempt in range(1, ATTEMPTS_MAX + 1):
            gateway = self._gateways[attempt % len(self._gateways)]
            if (await client.send(request, gateway, attempt=attempt, seconds=ANSWER_SECONDS_MAX)).is_done:
                return
            await asyncio.sleep(0.2)

    async def audit(self) -> None:
        """Every reservation that was ever told has been asked for."""
        client = self.client_named(AUDIT)
        told = {str(call.told["id"]) for call in self.history.calls if call.is_done and "id" in call.told}
        for id in sorted(told):
            for attempt in range(1, ATTEMPTS_MAX + 1):
                call = await client.send(
                    Request("get", subject=id), self._gateways[0], attempt=attempt, seconds=ANSWER_SECONDS_MAX
                )
                if not _is_open(call):
                    break
                await asyncio.sleep(0.1)


class _SimulatedBuyer(_Buyer):
    """One client: one request after the other."""

    async def run(self) -> None:
        """Requests until the traffic ends."""
        rng, traffic = self._rng, self._traffic
        assert isinstance(traffic, SimulatedTraffic)
        while not traffic.has_ended:
            (operation,) = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
            if operation == "batch":
                await self._batch()
            elif (request := self._request(operation)) is not None:
                if operation == "reserve" and request.key is not None and rng.random() < 0.1:
                    await asyncio.gather(self._until_known(request), self._until_known(request))
                else:
                    await self._until_known(request)
            await asyncio.sleep(rng.random() * traffic.pause_s_max)
