"""Clients who take a connection and give nothing for it: idle ones, ones that do not read, ones that send a byte now and then."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

DRIP_SECONDS: Final = 0.5
#: Of a document that is larger than the buffers of both hosts.
PAGES: Final = 40
RECEIVED_BYTES_MAX: Final = 4096
_HEAD: Final = "GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n"


class Rude:
    """One connection of such a client to an address."""

    def __init__(self, address: str) -> None:
        self._place = (urlsplit(address).hostname or "", urlsplit(address).port or 80)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def connect(self, *, receives_bytes: int = 0) -> None:
        """It is connected; `receives_bytes` makes its side of the wire narrow."""
        if not receives_bytes:
            self._reader, self._writer = await asyncio.open_connection(*self._place)
            return
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives_bytes)
        await asyncio.get_running_loop().sock_connect(connection, self._place)
        self._reader, self._writer = await asyncio.open_connection(sock=connection, limit=receives_bytes)

    async def ask(self) -> int:
        """The status of a request, answered."""
        self._writer.write(_HEAD.format(path="/healthz").encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(int(length.split(b":")[1]))
        return int(head.split(b" ")[1])

    async def never_read(self) -> None:
        """It has asked for a large document many times, and reads none."""
        self._writer.write(_HEAD.format(path="/docs/swagger-ui-bundle.js").encode() * PAGES)
        await self._writer.drain()

    async def drip(self, first: bytes) -> tuple[float, bytes]:
        """It sends a byte now and then until it is hung up on: after how many seconds, and with which words."""
        began_s = time.monotonic()
        self._writer.write(first)
        answered = asyncio.create_task(self._reader.read())
        while not answered.done():
            with suppress(ConnectionError):
                self._writer.write(b"a")
            await asyncio.wait([answered], timeout=DRIP_SECONDS)
        words = b"" if answered.exception() else answered.result()
        return time.monotonic() - began_s, words

    def close(self) -> None:
        """It is gone."""
        self._writer.transport.abort()
