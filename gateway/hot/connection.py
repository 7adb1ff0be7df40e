"""One multiplexing connection: the commands of one event-loop tick leave in one write, replies are matched in order.

The client library's own retry is not in the path: a lost reply is told as `Lost`, and only who knows that a command
recognises its own
repetition may send it again. Source: RESP, https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import deque
from typing import Any, Protocol

import hiredis

from gateway import metrics
from gateway.hot.address import Address

Reply = Any


class NotSent(Exception):
    """There is no connection, or no room in its queue: the command did not leave, nothing happened."""


class QueueFull(NotSent):
    """As many commands as allowed are under way."""


class Lost(Exception):
    """The command left and its reply did not arrive: it may have run."""


class ReplyError(Exception):
    """The server answered with an error; `word` is its first word, such as NOSCRIPT or OOM."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.word = message.split(" ", 1)[0]


class Refused(Exception):
    """The server is not one to work with: wrong password, a replica, too old. The message names the mend."""


class Link(Protocol):
    """What the hot store needs of a connection."""

    lineage: str

    def call(self, *arguments: str | int | bytes) -> asyncio.Future[Reply]:
        """The reply's future.

        Raises NotSent; the future raises Lost, ReplyError or NotSent. Cancelling it leaves the order of replies
        intact.
        """
        ...

    @property
    def pending(self) -> int:
        """Commands whose reply is awaited."""
        ...

    def flush(self) -> None:
        """What was called in this tick leaves now, not at its end."""
        ...

    def drop(self) -> None:
        """The connection is given up, because what came over it can not be trusted; a new one is made."""
        ...

    async def wait_connected(self, timeout_s: float) -> bool:
        """Whether there is a connection, at the latest after the time."""
        ...

    async def start(self) -> None:
        """The connection is up."""
        ...

    async def close(self) -> None:
        """The connection is closed and stays so."""
        ...


class _Wire(asyncio.Protocol):
    """The socket: a queue of what goes out, and of who waits for what comes in."""

    def __init__(self, timeout_s: float, plain: socket.socket | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = plain
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader(encoding="utf-8", protocolError=ConnectionError, replyError=ReplyError)
        self._waiting: deque[tuple[asyncio.Future[Reply], float]] = deque()
        self._unsent: list[bytes] = []
        self._unsent_count = 0
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._watch = self._loop.call_later(self._timeout_s / 4, self._look_at_clock)

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def call(self, arguments: tuple[str | int | bytes, ...]) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = self._loop.create_future()
        if not self._unsent:
            self._loop.call_soon(self.send_now)
        self._unsent.append(hiredis.pack_command(arguments))  # type: ignore[arg-type]  # its stub wants a 1-tuple
        self._unsent_count += 1
        self._waiting.append((future, self._loop.time()))
        return future

    def send_now(self) -> None:
        """What was called leaves. Without TLS it goes straight to the socket: a transport of uvloop waits for its tick's end."""
        if self._transport is None or not self._unsent:
            return
        data = b"".join(self._unsent)
        self._unsent = []
        self._unsent_count = 0
        if self._socket is not None and self._transport.get_write_buffer_size() == 0:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                pass  # the kernel's buffer is full: the transport waits for room
            except OSError:
                self.abort()
                return
        if data:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                future, _ = waiting.popleft()
                if future.cancelled():
                    continue
                if isinstance(reply, ReplyError):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (ConnectionError, IndexError, UnicodeDecodeError):
            self.abort()  # what comes in is not the protocol any more, or more than was asked for

    def _look_at_clock(self) -> None:
        if self._waiting and self._loop.time() - self._waiting[0][1] > self._timeout_s:
            self.abort()
            return
        self._watch = self._loop.call_later(self._timeout_s / 4, self._look_at_clock)

    def abort(self) -> None:
        """The connection is closed at once; whoever waits learns that the reply is lost."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        unsent = self._unsent_count
        self._unsent, self._unsent_count = [], 0
        waiting, self._waiting = self._waiting, deque()
        for i, (future, _) in enumerate(waiting):
            if not future.done():
                is_sent = i < len(waiting) - unsent
                future.set_exception(Lost("the reply is lost") if is_sent else NotSent("the connection broke first"))
        self._transport = None
        if not self.lost.done():
            self.lost.set_result(None)


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
        self._wire: _Wire | None = None
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
        if wire is None:
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
        if self._wire is not None:
            return True
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
        pause_s = 0.01
        while True:
            if self._wire is not None:
                await self._wire.lost
                self._wire = None
                self._connected.clear()
                metrics.HOT_RECONNECTS.inc()
                pause_s = 0.01
            try:
                await self._connect()
            except (OSError, Refused, ReplyError, Lost, NotSent, TimeoutError) as problem:
                self.problem = f"{type(problem).__name__}: {problem}"
                await asyncio.sleep(pause_s * (0.5 + random.random()))  # noqa: S311  # jitter, no secret
                pause_s = min(pause_s * 2, self._reconnect_s_max)

    async def _connect(self) -> None:
        async with asyncio.timeout(self._connect_timeout_s):
            wire = await self._open()
            try:
                await self._greet(wire)
            except BaseException:
                wire.abort()
                raise
        self._wire = wire
        self._connected.set()

    async def _open(self) -> _Wire:
        loop, address = asyncio.get_running_loop(), self._address
        if address.is_tls:
            wire = _Wire(self._timeout_s, None)
            await loop.create_connection(lambda: wire, address.host, address.port, ssl=address.ssl)
            return wire
        plain = await _connected(address)
        wire = _Wire(self._timeout_s, plain)
        if address.path:
            await loop.create_unix_connection(lambda: wire, sock=plain)
        else:
            await loop.create_connection(lambda: wire, sock=plain)
        return wire

    async def _greet(self, wire: _Wire) -> None:
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
