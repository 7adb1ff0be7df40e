"""One multiplexing connection that comes back by itself.

The client library's own retry is not in the path: a lost reply is told as `Lost`, and only who knows that a command recognises
its own repetition may send it again.
"""

from __future__ import annotations

import asyncio
import random
import socket

from gateway import metrics
from gateway.hot.address import Address
from gateway.hot.link import Link, Lost, NotSent, QueueFull, Refused, Reply, ReplyError
from gateway.hot.wire import Wire

__all__ = ["Link", "Lost", "NotSent", "QueueFull", "Refused", "Reply", "ReplyError", "SocketLink"]

PAUSE_S_MIN = 0.01  # before the first new attempt
STEADY_S = 1.0  # a connection that held this long was a good one


class SocketLink:
    """A connection to one Redis that comes back by itself, with jitter, and knows whom it is connected to."""

    def __init__(
        self, address: Address, *, timeout_ms: int, connect_timeout_ms: int, reconnect_ms_max: int, pending_max: int
    ) -> None:
        self._address = address
        self._timeout_s = timeout_ms / 1000
        self._connect_timeout_s = connect_timeout_ms / 1000
        self._reconnect_s_max = reconnect_ms_max / 1000
        self._pending_max = pending_max
        self._wire: Wire | None = None
        self._connected = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
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

    async def start(self) -> None:
        """The connection is up. Raises Refused or OSError when the first attempt fails."""
        await self._connect()
        self._keeper = asyncio.create_task(self._keep(), name="redis-connection")

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
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
                self.problem = f"{type(problem).__name__}: {problem}"
                await asyncio.sleep(pause_s * (0.5 + random.random()))  # noqa: S311  # jitter, no secret
                pause_s = min(pause_s * 2, self._reconnect_s_max)

    async def _connect(self) -> None:
        async with asyncio.timeout(self._connect_timeout_s):
            wire = await self._open()
            try:
                await self._greet(wire)
            except ReplyError as refusal:
                wire.abort()
                raise Refused(f"{self._address} refuses the login: {refusal}") from refusal
            except BaseException:
                wire.abort()
                raise
        self._wire = wire
        self._connected.set()

    async def _open(self) -> Wire:
        loop, address = asyncio.get_running_loop(), self._address
        if address.is_tls:
            wire = Wire(self._timeout_s, None)
            await loop.create_connection(lambda: wire, address.host, address.port, ssl=address.ssl)
            return wire
        plain = await _connected(address)
        wire = Wire(self._timeout_s, plain)
        if address.path:
            await loop.create_unix_connection(lambda: wire, sock=plain)
        else:
            await loop.create_connection(lambda: wire, sock=plain)
        return wire

    async def _greet(self, wire: Wire) -> None:
        """Log in, choose the database, and learn role and lineage before any script uses the connection."""
        address = self._address
        if address.password is not None:
            user = (address.username,) if address.username else ()
            await wire.call(("AUTH", *user, address.password))
        if address.database:
            await wire.call(("SELECT", address.database))
        answer = await wire.call(("INFO", "replication"))
        replication = dict(line.split(":", 1) for line in answer.splitlines() if ":" in line)
        if replication.get("role") != "master":
            raise Refused(f"{address} is a {replication.get('role')}; the gateway needs the primary")
        self.lineage = replication.get("master_replid", "")


async def _connected(address: Address) -> socket.socket:
    """A socket of our own that is connected, the first of the host's addresses that answers. Raises OSError."""
    loop = asyncio.get_running_loop()
    if address.path:
        places: list[tuple[int, int, int, object]] = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, address.path)]
    else:
        told = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        places = [(family, kind, number, place) for family, kind, number, _, place in told]
    problem: OSError | None = None
    for family, kind, number, place in places:
        plain = socket.socket(family, kind, number)
        plain.setblocking(False)
        try:
            await loop.sock_connect(plain, place)  # type: ignore[arg-type]  # its stub knows no unix path
        except OSError as refusal:
            plain.close()
            problem = refusal
        except BaseException:
            plain.close()
            raise
        else:
            if family != socket.AF_UNIX:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return plain
    raise problem or OSError(f"{address} has no address")
