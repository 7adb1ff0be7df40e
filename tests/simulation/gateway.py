"""A gateway process of the simulated world: the engine of `gateway serve` without HTTP, started, frozen, killed and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast

from pydantic import SecretStr

from gateway.app.engine import Engine
from gateway.app.premises import Places, Premises
from gateway.app.refusal import StartRefused
from gateway.app.role import Role
from gateway.durable.ledger import Ledger, LedgerError
from gateway.settings import Settings
from gateway.settings.sections import (
    AckSettings,
    ExpirySettings,
    FlushSettings,
    HotSettings,
    RedisSettings,
    TierSettings,
)
from tests.simulation.database import Database, later
from tests.simulation.ledger import DatabaseWay, SimulatedLedger
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.network import Network

RESTART_S: Final = 0.3


@cache
def settings_of(redis_url: str) -> Settings:
    """Short times, so that what waits for them happens within seconds, and small batches, so that one is made while another commits."""
    return Settings(
        redis_url=SecretStr(redis_url),
        database_url=SecretStr("sqlite:///simulated.db"),
        port=0,
        redis=RedisSettings(command_timeout_ms=500, connect_timeout_ms=500, reconnect_ms_max=200),
        ack=AckSettings(timeout_ms=1500),
        hot=HotSettings(idle_ttl_seconds=2, ended_ttl_seconds=2),
        flush=FlushSettings(poll_ms=250, lag_ms_max=600, batch_max=3),
        expiry=ExpirySettings(sweep_ms=400),
        tiers={
            "cart": TierSettings(ttl_seconds=300, ttl_seconds_max=600, lifetime_seconds_max=1800),
            "flash": TierSettings(ttl_seconds=1, ttl_seconds_max=3, lifetime_seconds_max=6),
        },
    )


class GivenPremises:
    """Premises that start nothing."""

    def __init__(self, redis_url: str) -> None:
        self.places = Places(redis_url, "given", "simulated:")


class SimulatedEngine(Engine):
    """The engine with the simulated ledger in the place of the database's."""

    def __init__(self, redis_url: str, ledger: SimulatedLedger, role: Role) -> None:
        settings = settings_of(redis_url)
        super().__init__(settings, cast("Premises", GivenPremises(redis_url)), lambda: settings, role)
        self._given_ledger = ledger

    def _make_ledger(self) -> Ledger:
        return self._given_ledger

    @property
    def is_open(self) -> bool:
        """Whether calls are answered, by what it knows."""
        return bool(self._tasks) and self._shard.is_open and self._link.lineage == self._shard.lineage


class Gateway:
    """One gateway by name; each start is a process of its own."""

    def __init__(
        self,
        name: str,
        redis_url: str,
        role: Role,
        database: Database,
        way: DatabaseWay,
        network: Network,
        wall_offset_s: float,
    ) -> None:
        self.name = name
        self.role: Role = role
        self.way = way
        self.engine: SimulatedEngine | None = None
        self._redis_url = redis_url
        self._database = database
        self._network = network
        self._wall_offset_s = wall_offset_s
        self._waiting: set[asyncio.Future[Any]] = set()
        self.process = Process(name)
        self.process.kill()
        self.processes: list[Process] = []

    @property
    def loop(self) -> SimulatedLoop:
        """The world's."""
        return self._network.loop

    @property
    def is_ready(self) -> bool:
        """Whether it answers calls."""
        return self.process.is_running and self.engine is not None and self.engine.is_open

    def start(self) -> None:
        """A new process begins to start; one that is refused is started again, as by a supervisor."""
        self.process = Process(self.name)
        self.processes.append(self.process)
        self.process.wall_offset_s = self._wall_offset_s
        self.loop.create_task(self._run(), context=self.process.context)

    async def _run(self) -> None:
        while True:
            engine = SimulatedEngine(self._redis_url, SimulatedLedger(self._database, self.way), self.role)
            try:
                await engine.start()
            except (StartRefused, LedgerError):
                await asyncio.sleep(RESTART_S)
            else:
                self.engine = engine
                return

    def kill(self) -> None:
        """As by SIGKILL: its connections break, and whoever waits for an answer learns that none will come."""
        self.process.kill()
        self.engine = None
        self._network.cut(lambda one: one.process is not None and one.process.is_dead)
        self.way.cut()
        for waiting in list(self._waiting):
            _settle(waiting, None)

    def ask(self, work: Callable[[SimulatedEngine], Any], delay_s: float, back_s: float) -> asyncio.Future[Any]:
        """What the gateway answers: the result of the work in its process, or None when the connection broke."""
        answer: asyncio.Future[Any] = self.loop.create_future()
        self._waiting.add(answer)
        answer.add_done_callback(self._waiting.discard)
        if self.process.is_dead:
            later(delay_s, _settle, answer, None)
        else:
            self.loop.call_later(delay_s, self._begin, work, answer, back_s, context=self.process.context)
        return answer

    def _begin(self, work: Callable[[SimulatedEngine], Any], answer: asyncio.Future[Any], back_s: float) -> None:
        if self.engine is None:
            later(back_s, _settle, answer, None)  # its port is not open yet
            return
        task = self.loop.create_task(work(self.engine))
        task.add_done_callback(
            lambda done: later(back_s, _settle, answer, done.result() if not done.cancelled() else None)
        )


def _settle(answer: asyncio.Future[Any], told: Any) -> None:
    if not answer.done():
        answer.set_result(told)
