"""HTTP/1.1 by hand, for what a client library would not send: half bodies, slow bodies, two requests in one go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

RESERVE = json.dumps({"lines": [{"sku": "A", "quantity": 1}]}).encode()


@dataclass
class Raw:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """The bytes are on their way."""
        self.writer.write(data)
        await self.writer.drain()

    async def is_invited(self, seconds: float = 30) -> None:
        """The request that was begun with `begun_head` is under way: the gateway waits for its body."""
        async with asyncio.timeout(seconds):
            told = await self.reader.readuntil(b"\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 100 "), told

    async def answer(self, seconds: float = 30) -> tuple[int, dict[str, str], Any]:
        """The next answer on this connection: status, headers in lower case, parsed body."""
        async with asyncio.timeout(seconds):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        parsed = json.loads(body) if body and "json" in headers.get("content-type", "") else body
        return int(first.split()[1]), headers, parsed


@asynccontextmanager
async def connection(address: str) -> AsyncIterator[Raw]:
    """A connection to the gateway, closed afterwards."""
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def head(method: str, target: str, length: int | None = None, *extra: str) -> bytes:
    """The head of a JSON request; without a length it has no body."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", *extra]
    if length is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def begun_head(target: str) -> bytes:
    """The head of a reserve whose sender waits until the gateway asks for the body, which is `RESERVE`."""
    return head("POST", target, len(RESERVE), "Expect: 100-continue")


def padded(size: int) -> bytes:
    """A valid reserve of exactly `size` bytes."""
    return RESERVE + b" " * (size - len(RESERVE))
