"""Listening: connections are taken as they come, as many as there is room for, and told where there is none.

libuv accepts one connection in each turn of the loop. A turn is long when much is to do, so under overload new clients stood in the
kernel's queue until it was full and their connections hung for seconds; here a turn takes many. What a process has to answer at once
is bounded by its connections, because a connection carries one request at a time: so they are what is bounded.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, cast

import structlog
from aiohttp import web

from gateway.web.refusal import RECEIVE_BYTES, Refusal, is_whole
from gateway.web.server import Server

log = structlog.get_logger("gateway.web")

ACCEPTS_MAX: Final = 128  # connections taken in one turn of the loop
REFUSING_MAX: Final = 1024  # connections whose refusal waits for their request; further ones are closed without a word
#: What the kernel takes of an answer beyond what the client has room for. It would take 4 MB of each: five hundred clients that do not
#: read then had 1.5 GB of its memory, and the loop copied for eight seconds. More would be no faster, as the rest follows in time.
UNSENT_BYTES_MAX: Final = 131_072
PAUSE_S: Final = 0.2  # without new connections after the system had none to give


class Listener(web.BaseSite):
    """A site of an aiohttp runner whose server is ours."""

    __slots__ = (
        "_connections_max",
        "_host",
        "_listening",
        "_loop",
        "_port",
        "_refusing",
        "_shares_port",
        "_taking",
        "_tasks",
    )

    def __init__(
        self,
        runner: web.BaseRunner,
        host: str,
        port: int,
        *,
        backlog: int,
        connections_max: int,
        shares_port: bool = False,
    ) -> None:
        """Nothing listens yet. `backlog`: connections that the kernel keeps until they are taken."""
        super().__init__(runner, backlog=backlog)
        self._taking = cast("Server", runner.server)
        self._loop = asyncio.get_running_loop()
        self._host, self._port = host, port
        self._connections_max = connections_max
        self._shares_port = shares_port
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing: set[Refusal] = set()

    @property
    def name(self) -> str:
        """Where it listens, as a URL."""
        return f"http://{self._host}:{self.port}"

    @property
    def port(self) -> int:
        """The port; one that the system has chosen is known once it listens."""
        return int(self._listening[0].getsockname()[1]) if self._listening else self._port

    async def start(self) -> None:
        """Connections are taken. Raises OSError when the address can not be had."""
        await super().start()
        found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                listening = socket.socket(family, kind, protocol)
                self._listening.append(listening)
                listening.setblocking(False)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                # The connections that are taken from it inherit this.
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
                if self._shares_port:
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.bind(address)
                listening.listen(self._backlog)
        except BaseException:
            self._close()
            raise
        for listening in self._listening:
            self._loop.add_reader(listening.fileno(), self.accept, listening)

    async def stop(self) -> None:
        """No connection is taken any more; those that were are the runner's."""
        self._close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().stop()

    def accept(self, listening: socket.socket) -> None:
        """What waits is taken, as much as one turn may take."""
        for _ in range(ACCEPTS_MAX):
            try:
                connection, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as problem:  # no file descriptor, no memory: some other connection must end first
                log.warning("connections_not_taken", problem=problem.strerror)
                self._loop.remove_reader(listening.fileno())
                self._loop.call_later(PAUSE_S, self._go_on, listening)
                return
            connection.setblocking(False)
            is_full = self._taking.connection_count + len(self._tasks) >= self._connections_max
            if is_full and (self._is_refused(connection) or len(self._refusing) + len(self._tasks) >= REFUSING_MAX):
                connection.close()
                continue
            task = self._loop.create_task(self._refuse(connection) if is_full else self._take(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _is_refused(self, connection: socket.socket) -> bool:
        """Whether the client has sent its whole request already, as most have that had to wait: then it is answered here and now."""
        try:
            come = connection.recv(RECEIVE_BYTES, socket.MSG_PEEK)
            if come and not is_whole(come):
                return False
            if connection.recv(RECEIVE_BYTES):
                connection.send(self._taking.refusal())
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True  # the client has gone again
        return True

    async def _take(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._taking, connection)
        except OSError:
            connection.close()  # the client has gone again

    async def _refuse(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Refusal(self._taking.refusal, self._refusing), connection)
        except OSError:
            connection.close()

    def _go_on(self, listening: socket.socket) -> None:
        if listening in self._listening:
            self._loop.add_reader(listening.fileno(), self.accept, listening)

    def _close(self) -> None:
        for listening in self._listening:
            if listening.fileno() >= 0:
                self._loop.remove_reader(listening.fileno())
                listening.close()
        self._listening = []
        for refusal in [*self._refusing]:
            refusal.end()
