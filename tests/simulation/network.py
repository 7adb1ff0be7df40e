"""The network: connections with delays, which carry bytes in order, and can be refused, cut, or swallow one direction.

The gateway's own connection code runs on it: `SimulatedSocket` is what it gets for a socket.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, Final, Protocol

from tests.simulation.loop import PROCESS, WORLD, Connector, SimulatedLoop

DELAY_S: Final = (0.0001, 0.0008)
CONNECT_S_MAX: Final = 130.0  # how long a connect to a host that is silent hangs, if nobody gives up before


class Session(Protocol):
    """The server's end of a connection."""

    def receive(self, data: bytes) -> None:
        """These bytes have come in."""

    def lost(self) -> None:
        """The other end is gone."""


class Listener(Protocol):
    """A server that can be connected to."""

    is_up: bool

    def accept(self, connection: Connection) -> Session:
        """Somebody has connected."""


@dataclass
class Way:
    """The way from one process to one server, and what is wrong with it."""

    is_refused: bool = False
    swallows_requests: bool = False
    swallows_replies: bool = False
    delay_s_max: float = DELAY_S[1]


class Network(Connector):
    """Who listens where, and how the ways to them are."""

    def __init__(self, loop: SimulatedLoop, dice: random.Random) -> None:
        self.loop = loop
        self.dice = dice
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.connections: list[Connection] = []
        self._ways: dict[tuple[str, tuple[str, int]], Way] = {}

    def way(self, process: str, place: tuple[str, int]) -> Way:
        """The way from the process to the place."""
        return self._ways.setdefault((process, place), Way())

    def delay_s(self, way: Way) -> float:
        """How long a packet travels this time."""
        return self.dice.uniform(DELAY_S[0], way.delay_s_max)

    async def connect(self, sock: Any, host: str, port: int) -> None:
        process, place = PROCESS.get(), (host, port)
        way = self.way(process.name if process is not None else "", place)
        done = self.loop.create_future()
        is_silent = way.swallows_requests or way.swallows_replies
        self.loop.later(CONNECT_S_MAX if is_silent else self.delay_s(way), _resolve, done)
        await done
        listener = self.listeners.get(place)
        if listener is None or not listener.is_up or way.is_refused or is_silent:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        connection = Connection(self, place, way)
        connection.session = listener.accept(connection)
        sock.connection = connection
        self.connections.append(connection)

    def cut(self, matches: Callable[[Connection], bool]) -> int:
        """Every matching connection is reset. How many."""
        found = [one for one in self.connections if not one.is_over and matches(one)]
        for one in found:
            one.reset()
        return len(found)

    def forget(self) -> None:
        """Connections that are over are not kept."""
        self.connections = [one for one in self.connections if not one.is_over]


def _resolve(future: Any) -> None:
    if not future.done():
        future.set_result(None)


class Connection:
    """One connection. Bytes on their way when it breaks come through towards the server or not, never towards the client."""

    def __init__(self, network: Network, place: tuple[str, int], way: Way) -> None:
        self.network = network
        self.place = place
        self.way = way
        self.process = PROCESS.get()
        self.context: Context = copy_context()
        self.session: Session | None = None
        self.protocol: Any = None
        self.is_over = False
        self._is_cut_off = False
        self._to_server_s = self._to_client_s = 0.0

    def send(self, data: bytes) -> None:
        """From the client to the server."""
        loop = self.network.loop
        if self.is_over or self.way.swallows_requests:
            return
        self._to_server_s = max(self._to_server_s, loop.time() + self.network.delay_s(self.way))
        loop.call_at(self._to_server_s, self._arrive, data, context=WORLD)

    def _arrive(self, data: bytes) -> None:
        if self._is_cut_off or self.session is None:
            return
        self.session.receive(data)

    def reply(self, data: bytes) -> None:
        """From the server to the client."""
        loop = self.network.loop
        if self.is_over or self.way.swallows_replies:
            return
        self._to_client_s = max(self._to_client_s, loop.time() + self.network.delay_s(self.way))
        loop.call_at(self._to_client_s, self._deliver, data, context=self.context)

    def _deliver(self, data: bytes) -> None:
        if not self.is_over and self.protocol is not None:
            self.protocol.data_received(data)

    def reset(self) -> None:
        """Both ends learn that it is over."""
        if self.is_over:
            return
        self._end()
        self.network.loop.call_soon(self._tell_client, context=self.context)

    def _tell_client(self) -> None:
        if self.protocol is not None:
            self.protocol.connection_lost(None)

    def abort(self) -> None:
        """The client gives it up."""
        if not self.is_over:
            self._end()

    def _end(self) -> None:
        self.is_over = True
        # What left before may still stand in a buffer on the way, and be executed long after the client gave up.
        self._is_cut_off = self.network.dice.random() < 0.5
        self.network.loop.later(self.network.delay_s(self.way), self._tell_server)

    def _tell_server(self) -> None:
        if self.session is not None:
            self.session.lost()


class SimulatedSocket:
    """What stands for a socket and, connected, for its transport."""

    def __init__(self, *_: Any) -> None:
        self.connection: Connection | None = None

    def setblocking(self, _: bool) -> None:
        """It never blocks."""

    def setsockopt(self, *_: Any) -> None:
        """It has no options."""

    def attach(self, protocol: Any) -> None:
        """The protocol gets what comes in."""
        assert self.connection is not None
        self.connection.protocol = protocol
        protocol.connection_made(self)

    def send(self, data: bytes) -> int:
        """All of it leaves. Raises OSError where the connection is over."""
        if self.connection is None or self.connection.is_over:
            raise ConnectionResetError("the connection is over")
        self.connection.send(data)
        return len(data)

    def write(self, data: bytes) -> None:
        """As a transport."""
        if self.connection is not None:
            self.connection.send(data)

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0

    def abort(self) -> None:
        """As a transport."""
        if self.connection is not None:
            self.connection.abort()

    close = abort
