"""A network that brings requests more than once, out of order, over several connections, and after their sender has given up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import aiohttp

from tests.faults.history import Call, History
from tests.faults.request import Client, Request

COPIES_MAX: Final = 3
#: Longer than the patience of any client of the traffic.
LATE_SECONDS_MAX: Final = 6.0
SENDERS: Final = 4

T = TypeVar("T")


class Echo:
    """What the copies of a run share. `counts`: how many requests went once, twice, three times, and how many of the copies late."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(f"echo-{seed}")
        self.counts = {"once": 0, "twice": 0, "three times": 0, "late": 0}
        self.tasks: set[asyncio.Task[object]] = set()
        self._sessions: list[aiohttp.ClientSession] = []

    def session(self) -> aiohttp.ClientSession:
        """Some connection pool, as of another host on the way."""
        if len(self._sessions) < SENDERS:
            self._sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        return self.rng.choice(self._sessions)

    async def end(self) -> None:
        """Every copy has arrived."""
        await asyncio.gather(*self.tasks)
        for session in self._sessions:
            await session.close()


class EchoingClient(Client):
    """Sends what may be sent again one to three times. It has the first answer; every copy is a call of its own in the history."""

    def __init__(self, name: str, session: aiohttp.ClientSession, shop: str, history: History, echo: Echo) -> None:
        super().__init__(name, session, shop, history)
        self._echo = echo
        self._of = (shop, history)

    async def send(self, request: Request, address: str, *, attempt: int = 1, seconds: float) -> Call:
        """The call, written down with the answer of the copy that was first."""
        begun = self._begun(request, address, attempt)
        may_repeat = request.operation != "reserve" or request.key is not None
        sent = self._copies(lambda one: one.send(request, address, attempt=2, seconds=10), may_repeat=may_repeat)
        first = await _first(sent, seconds)
        return self._ended(begun, first.answer if first else None)

    async def send_batch(
        self, requests: list[Request], address: str, *, number: int, attempt: int = 1, seconds: float
    ) -> list[Call]:
        """As `send`, of a batch that may be sent again as a whole."""
        begun = [self._begun(request, address, attempt) for request in requests]
        sent = self._copies(
            lambda one: one.send_batch(requests, address, number=number, attempt=2, seconds=10), may_repeat=True
        )
        first = await _first(sent, seconds)
        return [self._ended(call, first[at].answer if first else None) for at, call in enumerate(begun)]

    def _copies(self, send: Callable[[Client], Coroutine[Any, Any, T]], *, may_repeat: bool) -> list[asyncio.Task[T]]:
        echo = self._echo
        copies = echo.rng.randint(1, COPIES_MAX) if may_repeat else 1
        echo.counts[("once", "twice", "three times")[copies - 1]] += 1
        tasks = [asyncio.create_task(self._sent_late(send, may_be_late=number > 0)) for number in range(copies)]
        echo.tasks.update(tasks)
        return tasks

    async def _sent_late(self, send: Callable[[Client], Coroutine[Any, Any, T]], *, may_be_late: bool) -> T:
        rng = self._echo.rng
        is_late = may_be_late and rng.random() < 0.05
        self._echo.counts["late"] += is_late
        await asyncio.sleep(rng.uniform(4, LATE_SECONDS_MAX) if is_late else rng.random() ** 3 * 0.2)
        return await send(Client(f"{self.name}-copy", self._echo.session(), *self._of))


async def _first(tasks: list[asyncio.Task[T]], seconds: float) -> T | None:
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return next(iter(done)).result() if done else None
