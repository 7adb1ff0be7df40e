"""Dialling: how a wire to an address comes about, whatever the way to it is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.hot.address import Address
from gateway.hot.link import Refused, ReplyError
from gateway.hot.wire import Wire


async def dial(address: Address, timeout_s: float) -> Wire:
    """A wire whose server has taken the login and the database; `timeout_s` is what it grants each command.

    The caller bounds the dialling itself. Raises OSError, Refused, Lost, NotSent; no wire is left open then.
    """
    wire = await _open(address, timeout_s)
    with greeting(wire, address):
        if address.password is not None:
            user = (address.username,) if address.username else ()
            await wire.call(("AUTH", *user, address.password))
        if address.database:
            await wire.call(("SELECT", address.database))
    return wire


@contextmanager
def greeting(wire: Wire, address: Address) -> Iterator[None]:
    """The wire is given up where its greeting fails. Raises Refused for what the server answers with an error."""
    try:
        yield
    except ReplyError as refusal:
        wire.abort()
        raise Refused(f"{address} refuses the login: {refusal}") from refusal
    except BaseException:
        wire.abort()
        raise


async def _open(address: Address, timeout_s: float) -> Wire:
    loop = asyncio.get_running_loop()
    if address.is_tls:
        wire = Wire(timeout_s, None)
        await loop.create_connection(lambda: wire, address.host, address.port, ssl=address.ssl)
        return wire
    plain = await _connected(address)
    wire = Wire(timeout_s, plain)
    if address.path:
        await loop.create_unix_connection(lambda: wire, sock=plain)
    else:
        await loop.create_connection(lambda: wire, sock=plain)
    return wire


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
