"""A server that speaks RESP and answers what a test tells it to; and a proxy that loses what a test wants lost."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

import hiredis

from gateway.hot.connection import SocketLink
from tests.hot.links import linked

INFO = "# Replication\r\nrole:master\r\nmaster_replid:{lineage}\r\n"


class Close(Exception):
    """What an answer raises to end the connection without a reply."""


def bulk(text: str) -> bytes:
    """A bulk string."""
    raw = text.encode()
    return b"$%d\r\n%s\r\n" % (len(raw), raw)


def array(*texts: str) -> bytes:
    """An array of bulk strings."""
    return b"*%d\r\n%s" % (len(texts), b"".join(bulk(text) for text in texts))


def ok_reply(command: list[str], status: str = "OK", *fields: str) -> bytes:
    """What a script of the gateway answers: the caller's nonce first."""
    nonce = command[3 + int(command[2])]
    return array(nonce, status, "1000", "0", *fields)


Answer = Callable[[list[str]], bytes]


class StubServer:
    """Answers INFO like a primary and everything else by `answer`; `commands` are those that came, without INFO."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.commands: list[list[str]] = []
        self.connections = 0
        self.lineage = "lineage-1"
        self.role_text = INFO
        self.is_refusing = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, tls: ssl.SSLContext | None = None) -> int:
        """It listens on a loopback port; returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Nobody is connected and nobody may connect."""
        assert self._server is not None
        self._server.close()
        while self._writers:
            self.hang_up()
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)  # the transports' own last turn

    def hang_up(self) -> None:
        """All connections end."""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        parser = hiredis.Reader(encoding="utf-8")
        try:
            while not self.is_refusing and (data := await reader.read(1 << 16)):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    if command[0] == "INFO":
                        writer.write(bulk(self.role_text.format(lineage=self.lineage)))
                        continue
                    self.commands.append(command)
                    writer.write(self.answer(command))
        except (Close, ConnectionError):
            pass
        finally:
            await ended(writer)
            self._writers.discard(writer)


async def ended(writer: asyncio.StreamWriter) -> None:
    """The connection is closed, and nothing of it is left for the end of the test."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


@asynccontextmanager
async def handler_server(handler: Handler) -> AsyncIterator[int]:
    """A server that does with each connection what the handler does, and then closes it; yields the port."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            await ended(writer)
            running.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        tasks = [*running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.001)


@asynccontextmanager
async def stub_server(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[StubServer, int]]:
    """A running stub and its port."""
    server = StubServer(answer)
    port = await server.start(tls)
    try:
        yield server, port
    finally:
        await server.stop()


@asynccontextmanager
async def stubbed(answer: Answer, **how: int) -> AsyncIterator[tuple[StubServer, SocketLink]]:
    """A running stub and a started link to it."""
    async with stub_server(answer) as (server, port), linked(f"redis://127.0.0.1:{port}", **how) as link:
        yield server, link


async def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    """Return once it holds. Raises TimeoutError: what the gateway does by itself tells nobody when it is done."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class Proxy:
    """Between a link and a real server on a unix socket.

    `swallow`: how many chunks of replies are lost, each with its connection. `hold`: requests wait in `held`, and reach
    the server when the test lets them, although their connection is long gone.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.swallow = 0
        self.hold = False
        self.held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        """It listens on a loopback port; returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Everything is closed."""
        assert self._server is not None
        self._server.close()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            await ended(writer)
        await asyncio.sleep(0.001)

    async def let_go(self) -> None:
        """What was held back reaches the server now, however late, and has been worked on."""
        held, self.held = self.held, []
        for writer, data in held:
            writer.write(data)
            await writer.drain()
        await asyncio.sleep(0.05)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: what comes from the link goes up, or waits; what comes down goes back, or is lost."""
        self.connections += 1
        up_reader, up_writer = await asyncio.open_unix_connection(self._path)
        self._writers |= {writer, up_writer}
        up = asyncio.create_task(self._up(reader, up_writer))
        down = asyncio.create_task(self._down(up_reader, writer))
        self._tasks |= {up, down}
        up.add_done_callback(lambda _: writer.close())
        down.add_done_callback(lambda _: writer.close())

    async def _up(self, reader: asyncio.StreamReader, up_writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if self.hold and b"replication" not in data:
                    self.held.append((up_writer, data))
                else:
                    up_writer.write(data)

    async def _down(self, up_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await up_reader.read(1 << 16):
                if self.swallow > 0 and b"master_replid" not in data:
                    self.swallow -= 1
                    return
                if not writer.is_closing():
                    writer.write(data)


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A running proxy before the server of a unix:// URL, and the proxy's URL."""
    proxy = Proxy(url.removeprefix("unix://"))
    port = await proxy.start()
    try:
        yield proxy, f"redis://127.0.0.1:{port}"
    finally:
        await proxy.stop()
