"""A gateway that does not answer is told to people in one sentence: which address, what failed, what to try."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from gateway.cli.answer import GaveUp
from gateway.cli.failure import failure_in_words
from gateway.cli.remote import connect

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

#: What only the library that sends requests would say.
NOISE = ("aiohttp", "Client", "Error", "ssl:", "errno", "Errno", "Connect call")


async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """The request has come, and nothing goes back."""
    await reader.readuntil(b"\r\n\r\n")


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Something answers that is no web server."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"220 mail.example ESMTP\r\n\r\n")
    await writer.drain()


async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The answer is shorter than it says."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()


async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """The connection stays, until the other side goes."""
    await reader.read(-1)


async def talk_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server without TLS, whatever is asked."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """The host and port of a server that does this with each connection, and closes it. None is left open at the end."""
    connections: list[asyncio.Future[None]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connections.append(over)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        over.set_result(None)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        await asyncio.gather(*connections)


async def told(url: str, seconds_max: float = 10.0) -> str:
    """What is said of a gateway at this address."""
    async with connect(url, "main") as remote:
        with pytest.raises(GaveUp) as gave_up:
            await remote.glance("/healthz", seconds_max=seconds_max)
    return str(gave_up.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_failure_to_connect_says_that_nothing_listens(scheme: str, host: str) -> None:
    """Also where the name has several addresses, and each was tried."""
    words = await told(f"{scheme}://{host}:1")

    assert words.startswith(f"GET {scheme}://{host}:1/healthz: nothing listens there; start the gateway")
    assert not [noise for noise in NOISE if noise in words], words


@pytest.mark.parametrize(
    ("serve", "scheme", "words"),
    [
        (hang_up, "http", "the connection was closed before an answer came"),
        (babble, "http", "what came back is not HTTP"),
        (break_off, "http", "the answer broke off"),
        (say_nothing, "http", "there was no answer within 0.2 s"),
        (talk_plainly, "https", "TLS failed"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
async def test_failure_of_a_connection_is_told_in_words(serve: Serve, scheme: str, words: str) -> None:
    """Whatever is there instead of a gateway, what is said is ours, with the address."""
    async with server(serve) as address:
        said = await told(f"{scheme}://{address}", 0.2 if serve is say_nothing else 10.0)

    assert said.startswith(f"GET {scheme}://{address}/healthz: {words}")
    assert not [noise for noise in NOISE if noise in said], said


def test_failure_by_a_name_a_route_or_a_certificate_is_told_in_words() -> None:
    """Those that need a network to happen."""
    key = ConnectionKey("shop", 443, True, True, None, None, None)
    lookup = aiohttp.ClientConnectorError(key, socket.gaierror(-2, "Name or service not known"))
    route = aiohttp.ClientConnectorError(key, OSError(113, "Connect call failed ('10.0.0.9', 443)"))
    certificate = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
    certificate.verify_message = "self-signed certificate"
    foreign = aiohttp.ClientConnectorCertificateError(key, certificate)

    said = [failure_in_words(failure, 10.0) for failure in (lookup, route, foreign)]

    assert said[0].startswith("no machine of that name was found")
    assert said[1].startswith("there is no connection (no route to host)")
    assert said[2].startswith("TLS failed (self-signed certificate)")
