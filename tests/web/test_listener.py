"""The listener: many connections are taken in a turn, no more than there is room for, and the others are told."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import resource
import socket
import struct
import termios
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Any

import pytest
import structlog

from gateway.app.http import FILES_SPARE, room_for
from gateway.web import listener as listening_module
from gateway.web import refusal as refusal_module
from gateway.web.listener import Listener
from gateway.web.server import Server
from tests.web.clock import Clock
from tests.web.conftest import Gateway, Start

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
Listen = Callable[..., Any]


@pytest.fixture
async def listen(start: Start) -> AsyncIterator[Listen]:
    """A function that makes a gateway listen, with room for so many connections, on a port of its own."""

    async def begin(connections_max: int = 1000) -> tuple[Gateway, Listener]:
        gateway: Gateway = await start()
        listener = Listener(gateway.runner, "127.0.0.1", 0, backlog=600, connections_max=connections_max)
        await listener.start()
        gateway.port = listener.port
        return gateway, listener

    return begin


def count(gateway: Gateway) -> int:
    """The connections that were taken."""
    assert isinstance(gateway.runner.server, Server)
    return gateway.runner.server.connection_count


async def until(condition: Callable[[], bool]) -> None:
    """It has come to that."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # nobody tells this
            await asyncio.sleep(0.01)


async def test_listener_takes_many_connections_in_one_turn(listen: Listen) -> None:
    """Three hundred clients that came during a long turn of the loop are all taken within a few turns."""
    gateway, listener = await listen()
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port))) for _ in range(300)]
        for client in clients:
            client.sendall(GET[:1])
        wait_until_in_the_kernel(clients)  # which keeps them meanwhile

        for _ in range(12):
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)

        assert count(gateway) == 300
    await until(lambda: count(gateway) == 0)
    await listener.stop()


def wait_until_in_the_kernel(clients: list[socket.socket]) -> None:
    """What they have sent is on our side, where the loop, which stands still meanwhile, finds it with its next turn."""
    end = time.monotonic() + 30
    while any(unread_bytes(client) for client in clients):
        assert time.monotonic() < end
        time.sleep(0.001)


async def test_listener_without_room_tells_so_and_takes_the_next(listen: Listen) -> None:
    """One connection too many: 503 with a code, an outcome and when to come again; those that are there go on, and one that ends
    makes room."""
    gateway, _ = await listen(2)
    first, second = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(2)]
    await until(lambda: count(gateway) == 2)

    for _ in range(3):
        answer = await gateway.raw(GET)
        head, _, body = answer.partition(b"\r\n\r\n")
        told = json.loads(body)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in head
        assert b"\r\nConnection: close" in head
        assert (told["code"], told["outcome"], told["status"]) == ("overloaded", "not_applied", 503)

    first[1].write(GET)
    assert (await first[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    second[1].close()
    await until(lambda: count(gateway) == 1)
    third = await asyncio.open_connection("127.0.0.1", gateway.port)
    third[1].write(GET)
    assert (await third[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    for _, writer in (first, third):
        writer.close()


async def test_refused_request_that_has_come_is_answered_at_once(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are refused in one turn: whose request is there reads its answer to the end, and leaves nothing behind."""
    monkeypatch.setattr(listening_module, "REFUSING_MAX", 0)
    gateway, listener = await listen(0)
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port))) for _ in range(200)]
        for client in clients:
            client.sendall(GET)
        wait_until_in_the_kernel(clients)

        for client in clients:
            answer = await asyncio.to_thread(read_all, client)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(b"}")
    await listener.stop()


def read_all(client: socket.socket) -> bytes:
    """What comes until the end of the connection."""
    client.settimeout(30)
    return b"".join(iter(lambda: client.recv(65_536), b""))


async def test_client_that_does_not_read_costs_the_kernel_little(listen: Listen) -> None:
    """Of the large documents that it asked for again and again the kernel has taken a small part, whatever its buffers may grow to."""
    gateway, listener = await listen()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 8)
        await until(lambda: count(gateway) == 1)
        assert isinstance(gateway.runner.server, Server)
        (connection,) = gateway.runner.server.connections
        taken = connection.transport.get_extra_info("socket")

        await until(lambda: connection.writing_paused)
        unread = [unread_bytes(taken)]
        for _ in range(20):
            await asyncio.sleep(0.01)
            unread.append(unread_bytes(taken))

    assert 0 < max(unread) < 4 * listening_module.UNSENT_BYTES_MAX
    await listener.stop()


def unread_bytes(connection: socket.socket) -> int:
    """What the kernel has taken and the other side has not."""
    return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0])


async def test_refused_client_hears_nothing_before_it_asks(listen: Listen, clock: Clock) -> None:
    """An answer does not come before its request: a client that was connected and has not sent yet would not know whose it is."""
    gateway, listener = await listen(0)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    early = asyncio.create_task(reader.readuntil(b"\r\n"))
    await clock.until(lambda: listener._refusing)

    await clock.move(refusal_module.REFUSAL_S_MAX * 0.9)
    has_come_early = early.done()
    writer.write(GET)

    assert (await early).startswith(b"HTTP/1.1 503 ")
    assert not has_come_early
    writer.close()


@pytest.mark.parametrize("is_begun", [True, False], ids=["begun", "not begun"])
async def test_refused_request_that_comes_in_pieces_reads_its_answer(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, is_begun: bool
) -> None:
    """A body that is still on its way when its sender is refused does not reset the connection: the answer is read to its end."""
    monkeypatch.setattr(refusal_module, "REFUSAL_S_MAX", 60)
    gateway, listener = await listen(0)
    body = b"x" * 900_000
    head = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        if is_begun:
            client.sendall(head)  # it stands in the kernel when the connection is taken
            wait_until_in_the_kernel([client])
        await until(lambda: len(listener._refusing) == 1)

        await asyncio.to_thread(client.sendall, body if is_begun else head + body)
        answer = await asyncio.to_thread(read_all, client)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"}")
    await until(lambda: not listener._refusing)


@pytest.mark.parametrize(
    ("come", "whole"),
    [
        (GET, True),
        (GET[:-1], False),
        (b"", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab", True),
        (b"POST / HTTP/1.1\r\nCONTENT-LENGTH:2\r\nHost: x\r\n\r\na", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (GET + b"x" * refusal_module.RECEIVE_BYTES, False),
    ],
)
def test_request_is_whole_when_nothing_of_it_can_follow(come: bytes, whole: bool) -> None:
    """A head with its end and as much of a body as it tells; in doubt it is not."""
    assert refusal_module.is_whole(come) is whole


async def test_refused_client_that_does_not_leave_is_cut(
    listen: Listen, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is refused and stays holds nothing: the connection ends after a moment, and those over the bound end at once."""
    monkeypatch.setattr(listening_module, "REFUSING_MAX", 1)
    gateway, listener = await listen(0)

    asked = [asyncio.create_task(gateway.raw()) for _ in range(2)]
    await clock.until(lambda: listener._refusing and any(each.done() for each in asked))
    has_ended = [each.done() for each in asked]
    await clock.move(refusal_module.REFUSAL_S_MAX * 1.1)
    await clock.until(lambda: all(each.done() for each in asked))
    answers = await asyncio.gather(*asked, return_exceptions=True)

    told = [answer for answer in answers if isinstance(answer, bytes) and answer.startswith(b"HTTP/1.1 503")]
    assert sorted(has_ended) == [False, True]
    assert len(told) == 1


async def test_listener_goes_on_when_the_system_has_no_files_left(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EMFILE is told once and waited out: the loop does not spin on it, and later clients are served."""
    monkeypatch.setattr(listening_module, "PAUSE_S", 0.05)
    gateway, listener = await listen()

    class Exhausted:
        """The listening socket, at a moment without a free file descriptor."""

        calls = 0

        def accept(self) -> Any:
            self.calls += 1
            raise OSError(errno.EMFILE, "Too many open files")

        def fileno(self) -> int:
            return listener._listening[0].fileno()

    exhausted = Exhausted()
    with structlog.testing.capture_logs() as logs:
        listener.accept(exhausted)  # type: ignore[arg-type]
    asked = asyncio.create_task(gateway.raw(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    await asyncio.sleep(0)
    listener._go_on(listener._listening[0])

    assert (await asked).startswith(b"HTTP/1.1 200")
    assert exhausted.calls == 1
    assert [line["event"] for line in logs] == ["connections_not_taken"]


def test_room_is_what_the_system_lets_a_process_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """A low soft limit of files is raised; where the hard one is lower there is less room, and that is told."""
    limits = [(256, 100_000), (256, 1_024), (1_000_000, 1_000_000)]
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits.pop(0))
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: raised.append(wanted))

    with structlog.testing.capture_logs() as logs:
        found = [room_for(4096) for _ in range(3)]

    assert found == [4096, 1024 - FILES_SPARE, 4096]
    assert raised == [(4096 + FILES_SPARE, 100_000), (1024, 1_024)]
    assert [line["event"] for line in logs] == ["few_connections"]
