"""recovery: how long the gateway is closed after each fault, seen by a buyer who goes on asking.

Closed is the time from the last success before to the first success after, of holds (acknowledged from memory) and of sales
(durable). What was killed is started again at once, so the start of its process is part of it. Open holds are made by `/v1/batch`
and are all in the durable store before Redis is emptied.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from bench.failure import ServerFailure
from bench.gateway_server import GatewayServer
from bench.holds import open_holds, stock_up
from bench.probe import ON_HAND, SKU, Probe
from bench.rounds import say_to_terminal
from bench.row import Figure, FigureRow
from gateway.app.siblings import NAME_VARIABLE
from gateway.embedded.errors import ServerFailed
from gateway.embedded.postgres import PrivatePostgres

HOLDS = (1_000, 10_000, 1_000_000)
HOLDS_QUICK = (1_000, 10_000)
MILLION_SECONDS_MAX = 30.0
SENTINEL_SECONDS_MAX = 5.0  # beyond the time after which the sentinels call a server down
CLOSED_SECONDS_MAX = 180.0
CALM_SECONDS = 1.0
POSTGRES_STARTS_MAX = 10


class Recovery(FigureRow):
    """Closed times."""

    name = "recovery"
    title = "Closed"
    by_default = False

    def measure(self) -> list[Figure]:
        """The figures.

        Raises:
            ServerFailure: the gateway did not come back, or its books do not add up afterwards.
        """
        return [*self._of_processes(), *self._of_emptied_redis(), *self._of_sentinels(), *self._of_workers()]

    def _of_processes(self) -> list[Figure]:
        """The gateway, Redis and PostgreSQL are killed in turn, with few holds open."""
        postgres = PrivatePostgres(self.stage.folder / "recovery-postgres", self.stage.postgres.source, keeps_port=True)
        postgres.start()
        try:
            with self._gateway("recovery", postgres.url) as gateway:
                figures = self._figures(gateway, "gateway killed and started again", gateway.restart_killed)
                figures += self._figures(
                    gateway, "Redis killed and started again with its file", lambda: _restart(gateway)
                )
                figures += self._figures(
                    gateway, "PostgreSQL killed and started again", lambda: _restart_postgres(postgres)
                )
        finally:
            postgres.stop()
        return figures

    def _of_emptied_redis(self) -> list[Figure]:
        figures = []
        database_url = self.stage.postgres.create_database("recovery_holds")
        with self._gateway("recovery-holds", database_url, is_checked=self.stage.arguments.is_quick) as gateway:
            stock_up(gateway.port)
            is_open = 0
            for count in HOLDS_QUICK if self.stage.arguments.is_quick else HOLDS:
                if count == HOLDS[-1]:
                    _check(
                        gateway
                    )  # now: of a million holds it takes minutes, and a rebuild compares them with their levels itself
                say_to_terminal(f"opening {count:,} holds")
                open_holds(gateway.port, count - is_open)
                is_open = count
                gateway.client.drain()
                wanted = MILLION_SECONDS_MAX if count >= 1_000_000 else None
                what = f"FLUSHALL with {count:,} open holds"
                figures += self._figures(gateway, what, lambda: _empty(gateway), wanted)
        return figures

    def _of_sentinels(self) -> list[Figure]:
        """The primary of a pair is killed; it stays dead, and the sentinels promote the replica."""
        # The pair with its sentinels is that of the fault scenarios.
        from tests.faults.replicated import DOWN_AFTER_SECONDS, Replicated

        pair = Replicated(self.stage.folder / "sentinels", self.stage.redis_binary)
        wanted = DOWN_AFTER_SECONDS + SENTINEL_SECONDS_MAX
        what = f"primary killed, sentinels with down-after {DOWN_AFTER_SECONDS:g} s"

        async def measured() -> list[Figure]:
            async with pair.watched():
                # Started here: the kernel ends a server with the thread that has started it.
                database_url = self.stage.postgres.create_database("recovery_sentinels")
                with self._gateway("recovery-sentinels", database_url, GATEWAY_REDIS_URL=pair.url) as gateway:
                    return await asyncio.to_thread(
                        self._figures, gateway, what, lambda: _kill(pair.primary.pid), wanted
                    )

        try:
            pair.start_servers()
            return asyncio.run(measured())
        finally:
            pair.stop()

    def _of_workers(self) -> list[Figure]:
        """Of two web workers and the one that flushes, one is killed; the supervisor starts it again."""
        database_url = self.stage.postgres.create_database("recovery_workers")
        with self._gateway("recovery-workers", database_url, GATEWAY_WORKERS="2") as gateway:
            figures = self._figures(gateway, "web worker of two killed", lambda: _kill(_worker(gateway.pid, "web-1")))
            return figures + self._figures(
                gateway, "flushing worker killed", lambda: _kill(_worker(gateway.pid, "work"))
            )

    @contextmanager
    def _gateway(
        self, name: str, database_url: str, *, is_checked: bool = True, **settings: str
    ) -> Iterator[GatewayServer]:
        """A gateway of its own, whose books must add up at the end, if they are checked then."""
        gateway = GatewayServer(self.stage.folder / name, self.stage.redis_binary, database_url, settings)
        try:
            gateway.start()
            gateway.client.stock(SKU, ON_HAND)
            yield gateway
            if is_checked:
                _check(gateway)
        finally:
            gateway.stop()

    def _figures(
        self, gateway: GatewayServer, what: str, broken: Callable[[], None], wanted_s: float | None = None
    ) -> list[Figure]:
        """How long it was closed for holds and for sales when this was broken; `wanted_s` is the most for sales."""
        with Probe(gateway.port) as probe:
            probe.wait_steady(time.monotonic(), CLOSED_SECONDS_MAX)
            time.sleep(CALM_SECONDS)
            since_s = time.monotonic()
            broken()
            probe.wait_steady(time.monotonic(), CLOSED_SECONDS_MAX)
            holds_s, sales_s = probe.closed_s("hold", since_s), probe.closed_s("sale", since_s)
        say_to_terminal(f"{what}: {holds_s:.2f} s for holds, {sales_s:.2f} s for sales")
        return [
            Figure(f"{self.title} for holds: {what}", holds_s * 1000, "ms"),
            Figure(f"{self.title} for sales: {what}", sales_s * 1000, "ms", wanted_s and wanted_s * 1000),
        ]


def _check(gateway: GatewayServer) -> None:
    """Everything is committed and the books add up. Raises ServerFailure."""
    gateway.client.drain()
    if found := gateway.client.violations():
        raise ServerFailure(f"recovery: {found[:3]}")


def _kill(pid: int | None) -> None:
    """Kill -9."""
    if pid is None:
        raise ServerFailure("recovery: there is no process to kill")
    os.kill(pid, signal.SIGKILL)


def _restart(gateway: GatewayServer) -> None:
    """Redis was killed and answers again, with what its file has."""
    _kill(gateway.redis.pid)
    while gateway.redis.is_running:
        time.sleep(0.001)
    gateway.redis.relaunch()
    gateway.redis.wait_ready()


def _restart_postgres(postgres: PrivatePostgres) -> None:
    """PostgreSQL was killed and takes connections again, at its port."""
    _kill(postgres.pid)
    while postgres.is_running:
        time.sleep(0.001)
    for left in reversed(range(POSTGRES_STARTS_MAX)):
        try:
            postgres.start()
        except ServerFailed:
            # Its last child has not noticed yet, and holds the shared memory.
            if not left:
                raise
            time.sleep(0.2)
        else:
            return


def _empty(gateway: GatewayServer) -> None:
    """FLUSHALL. The scripts stay, as after a FLUSHALL in the world."""
    with Redis.from_url(gateway.redis.url, socket_timeout=CLOSED_SECONDS_MAX) as client:
        client.flushall(asynchronous=True)


def _worker(supervisor: int, name: str) -> int:
    """The process of this name that the supervisor has started. Raises ServerFailure where there is none."""
    wanted = f"{NAME_VARIABLE}={name}".encode()
    for process in Path("/proc").iterdir():
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == supervisor and wanted in (process / "environ").read_bytes().split(b"\0"):
                return int(process.name)
        except (OSError, ValueError, IndexError):
            continue  # no process, or one that has just ended
    raise ServerFailure(f"there is no worker {name}")
