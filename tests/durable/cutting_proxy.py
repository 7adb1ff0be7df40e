"""A TCP proxy between the ledger and PostgreSQL that loses what a test tells it to lose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

#: COMMIT as a client sends it: a simple query, its length, its text.
_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"

#: `before`: COMMIT never reaches the server. `after`: the server gets it, and its answer is dropped. `silence`: as
#: `after`, but the connection stays open and nothing more comes.
Cut = Literal["never", "before", "after", "silence"]


class CuttingProxy:
    """Passes bytes on until a COMMIT comes by, then does as `cut` says."""

    def __init__(self, url: str) -> None:
        self.cut: Cut = "never"
        self.cuts = 0
        self.lead_to(url)
        self._writers: set[asyncio.StreamWriter] = set()

    def lead_to(self, url: str) -> None:
        """New connections go to the server of this URL."""
        parts = urlsplit(url)
        self._server = (str(parts.hostname), int(parts.port or 5432))

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it or it is cut."""
        try:
            server, forth = await asyncio.open_connection(*self._server)
        except OSError:
            back.close()
            return
        self._writers |= {forth, back}
        is_silent = asyncio.Event()
        try:
            await asyncio.gather(self._forth(client, forth, is_silent), self._back(server, back, is_silent))
        except ConnectionError:
            pass
        finally:
            for writer in (forth, back):
                writer.close()

    async def end(self) -> None:
        """Every connection is closed."""
        for writer in self._writers:
            writer.close()

    async def _forth(self, client: asyncio.StreamReader, forth: asyncio.StreamWriter, is_silent: asyncio.Event) -> None:
        while chunk := await client.read(65_536):
            if _COMMIT in chunk and self.cut != "never":
                self.cuts += 1
                if self.cut == "before":
                    raise ConnectionResetError
                is_silent.set()
            forth.write(chunk)
            await forth.drain()
        forth.write_eof()

    async def _back(self, server: asyncio.StreamReader, back: asyncio.StreamWriter, is_silent: asyncio.Event) -> None:
        while chunk := await server.read(65_536):
            if is_silent.is_set():
                if self.cut == "after":
                    raise ConnectionResetError
                continue
            back.write(chunk)
            await back.drain()
        back.write_eof()


@asynccontextmanager
async def cutting_proxy(url: str) -> AsyncIterator[tuple[CuttingProxy, str]]:
    """A proxy before the server of a URL, and the URL that leads through it."""
    parts = urlsplit(url)
    proxy = CuttingProxy(url)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    login = parts.netloc.rpartition("@")[0]
    async with listener:
        yield proxy, urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
        await proxy.end()
