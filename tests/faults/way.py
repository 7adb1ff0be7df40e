"""A way to a server that can be held or closed: what goes over it arrives late, or never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

HELD_BYTES_MAX: Final = 16 * 1024 * 1024


class Way:
    """A port that leads to another one, of 127.0.0.1.

    While `is_held`, what the server says waits; when its connection ends it never arrives, as what was in the buffers of a host
    that died. While `is_closed`, whoever comes is hung up on.
    """

    def __init__(self, to: int) -> None:
        """It leads to this port. Nobody listens yet."""
        self.to = to
        self.port = 0
        self.is_closed = False
        self._passes = asyncio.Event()
        self._passes.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def hold(self) -> None:
        """From now on what the server says waits."""
        self._passes.clear()

    def let_go(self) -> None:
        """What waited arrives."""
        self._passes.set()

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        forth: asyncio.StreamWriter | None = None
        try:
            if not self.is_closed:
                server, forth = await asyncio.open_connection("127.0.0.1", self.to)
                await self._pass_both(client, forth, server, back)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for writer in (back, forth):
                if writer is not None:
                    writer.transport.abort()

    async def end(self) -> None:
        """Every connection is over."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass_both(
        self,
        client: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        up, down = asyncio.create_task(self._forth(client, forth)), asyncio.create_task(self._back(server, back))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _forth(self, client: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        while chunk := await client.read(65_536):
            forth.write(chunk)
            await forth.drain()

    async def _back(self, server: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Reads on while it is held, so that the end of the server's connection is seen, and with it the held is dropped."""
        held = bytearray()
        reading = asyncio.create_task(server.read(65_536))
        try:
            while True:
                passing = asyncio.create_task(self._passes.wait())
                waited = {reading, passing} if held else {reading}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                passing.cancel()
                if reading.done():
                    chunk = reading.result()
                    if not chunk:
                        return
                    held += chunk
                    assert len(held) <= HELD_BYTES_MAX, "a way was held for too long"
                    reading = asyncio.create_task(server.read(65_536))
                if self._passes.is_set():
                    back.write(bytes(held))
                    held.clear()
                    with suppress(ConnectionError):
                        await back.drain()
        finally:
            reading.cancel()


@asynccontextmanager
async def way_to(port: int, *, host: str = "127.0.0.1") -> AsyncIterator[Way]:
    """A way that passes, from an address of this machine."""
    way = Way(port)
    server = await asyncio.start_server(way.serve, host, 0)
    way.port = int(server.sockets[0].getsockname()[1])
    try:
        yield way
    finally:
        server.close()
        await way.end()
