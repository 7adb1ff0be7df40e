"""One multiplexing connection that comes back by itself.

The client library's own retry is not in the path: a lost reply is told as `Lost`, and only who knows that a command recognises
its own repetition may send it again.
"""

from __future__ import annotations

import asyncio
import random

import structlog

from gateway import metrics
from gateway.hot.address import Address
from gateway.hot.dial import dial, greeting
from gateway.hot.link import Link, Lost, NotSent, QueueFull, Refused, Reply, ReplyError
from gateway.hot.sentinel import Sentinels
from gateway.hot.wire import Wire

log = structlog.get_logger(__name__)

__all__ = ["Link", "Lost", "NotSent", "QueueFull", "Refused", "Reply", "ReplyError", "SocketLink"]

PAUSE_S_MIN = 0.01  # before the first new attempt
STEADY_S = 1.0  # a connection that held this long was a good one
# A frozen or cut-off primary may still answer, and the sentinels have decided in as little as a second.
WATCH_S = 1.0


class SocketLink:
    """A connection to one Redis that comes back by itself, with jitter, and knows whom it is connected to."""

    def __init__(
        self, address: Address, *, timeout_ms: int, connect_timeout_ms: int, reconnect_ms_max: int, pending_max: int
    ) -> None:
        self._address = self._reached = address
        self._sentinels = Sentinels(address) if address.sentinels else None
        self._timeout_s = timeout_ms / 1000
        self._connect_timeout_s = connect_timeout_ms / 1000
        self._reconnect_s_max = reconnect_ms_max / 1000
        self._pending_max = pending_max
        self._wire: Wire | None = None
        self._connected = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.lineage = ""
        self.problem = "not connected yet"

    @property
    def pending(self) -> int:
        """Commands whose reply is awaited."""
        return 0 if self._wire is None else self._wire.pending

    def call(self, *arguments: str | int | bytes) -> asyncio.Future[Reply]:
        wire = self._wire
        if wire is None or wire.is_over:
            raise NotSent(self.problem)
        if wire.pending >= self._pending_max:
            raise QueueFull(f"{self._pending_max} commands are under way")
        return wire.call(arguments)

    def flush(self) -> None:
        """What was called in this tick leaves now, not at its end."""
        if self._wire is not None:
            self._wire.send_now()

    def drop(self) -> None:
        """The connection is given up, because what came over it can not be trusted; a new one is made."""
        if self._wire is not None:
            self._wire.abort()

    async def wait_connected(self, timeout_s: float) -> bool:
        if self._wire is not None and not self._wire.is_over:
            return True
        self._connected.clear()  # the wire is over, the keeper has not come to see it yet
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
        except TimeoutError:
            return False
        return True

    async def verify(self) -> None:
        wire = self._wire
        if wire is None or wire.is_over:
            raise NotSent(self.problem)
        try:
            await self._look(wire, self._reached, needs_majority=True)
        except (Refused, ReplyError, Lost) as problem:
            raise NotSent(str(problem)) from problem

    async def start(self) -> None:
        """The connection is up. Raises Refused or OSError when the first attempt fails."""
        await self._connect()
        self._tasks = [
            asyncio.create_task(self._keep(), name="redis-connection"),
            asyncio.create_task(self._watch(), name="redis-watch"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s, connected_s = PAUSE_S_MIN, loop.time()
        while True:
            if self._wire is not None:
                await self._wire.lost
                self._wire = None
                self._connected.clear()
                metrics.HOT_RECONNECTS.inc()
                if loop.time() - connected_s < STEADY_S:  # it greets and hangs up: that is no reason to hurry
                    await asyncio.sleep(pause_s * (0.5 + random.random()))  # noqa: S311  # jitter, no secret
                    pause_s = min(pause_s * 2, self._reconnect_s_max)
                else:
                    pause_s = PAUSE_S_MIN
            try:
                await self._connect()
                connected_s = loop.time()
            except (OSError, Refused, ReplyError, Lost, NotSent, TimeoutError) as problem:
                self._tell(f"{type(problem).__name__}: {problem}")
                await asyncio.sleep(pause_s * (0.5 + random.random()))  # noqa: S311  # jitter, no secret
                pause_s = min(pause_s * 2, self._reconnect_s_max)

    async def _connect(self) -> None:
        # Asked anew each time, with a time of its own: where the primary was a moment ago says nothing after a failover.
        address = self._address if self._sentinels is None else await self._sentinels.primary()
        async with asyncio.timeout(self._connect_timeout_s):
            wire = await dial(address, self._timeout_s)
            with greeting(wire, address):
                self.lineage = await _lineage_of(wire, address)
        self._wire, self._reached = wire, address
        self._connected.set()
        log.info("redis_connected", address=str(address), lineage=self.lineage)

    async def _watch(self) -> None:
        """Each second: is this still the server that was connected to, and do the sentinels still name it?"""
        while True:
            await asyncio.sleep(WATCH_S)
            wire = self._wire
            if wire is None or wire.is_over:
                continue
            try:
                await self._look(wire, self._reached)
            except Refused as problem:
                self._tell(str(problem))
                wire.abort()
            except (ReplyError, Lost, NotSent):
                continue  # it is busy, or the wire is over: that is seen to where it shows

    async def _look(self, wire: Wire, address: Address, *, needs_majority: bool = False) -> None:
        """The server at the wire's end is the primary, and has been since the connection was made. Raises Refused, if not.

        Where too few sentinels answer the connection stays, unless the majority is needed: that sentinels are restarted is
        no reason to stop selling.
        """
        if self._sentinels is not None:
            try:
                named = await self._sentinels.primary()
            except Refused:
                if needs_majority:
                    raise
            else:
                if (named.host, named.port) != (address.host, address.port):
                    raise Refused(f"the sentinels name {named.place} now, the connection is to {address.place}")
        before = self.lineage
        if (now := await _lineage_of(wire, address)) != before and wire is self._wire:
            raise Refused(f"{address} has another lineage, {now}, than when it was connected to, {before}")

    def _tell(self, problem: str) -> None:
        """Why there is no connection: for who calls, and once for the log."""
        if problem != self.problem:
            log.warning("redis_not_connected", problem=problem)
        self.problem = problem


async def _lineage_of(wire: Wire, address: Address) -> str:
    """The name of the history that the server writes. Raises Refused when it is not a primary, and as a call does."""
    answer = await wire.call(("INFO", "replication"))
    replication = dict(line.split(":", 1) for line in answer.splitlines() if ":" in line)
    if replication.get("role") != "master":
        raise Refused(f"{address} is a {replication.get('role')}; the gateway needs the primary")
    return str(replication.get("master_replid", ""))
