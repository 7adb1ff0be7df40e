"""The wire: a queue of what goes out, and of who waits for what comes in.

The commands of one event-loop tick leave in one write, replies are matched in order. Source: RESP,
https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque

import hiredis

from gateway.hot.link import Lost, NotSent, Reply, ReplyError


class Wire(asyncio.Protocol):
    """The socket: a queue of what goes out, and of who waits for what comes in."""

    def __init__(self, timeout_s: float, plain: socket.socket | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = plain
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader(encoding="utf-8", protocolError=ConnectionError, replyError=ReplyError)
        self._waiting: deque[tuple[asyncio.Future[Reply], float]] = deque()
        self._unsent: list[bytes] = []
        self._unsent_count = 0
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.is_over = False
        self.lost: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._watch = self._loop.call_later(self._timeout_s / 4, self._look_at_clock)

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def call(self, arguments: tuple[str | int | bytes, ...]) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = self._loop.create_future()
        if not self._unsent:
            self._loop.call_soon(self.send_now)
        self._unsent.append(hiredis.pack_command(arguments))  # type: ignore[arg-type]  # its stub wants a 1-tuple
        self._unsent_count += 1
        self._waiting.append((future, self._loop.time()))
        return future

    def send_now(self) -> None:
        """What was called leaves. Without TLS it goes straight to the socket: a transport of uvloop waits for its tick's end."""
        if self._transport is None or not self._unsent:
            return
        data = b"".join(self._unsent)
        self._unsent = []
        self._unsent_count = 0
        if self._socket is not None and self._transport.get_write_buffer_size() == 0:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                pass  # the kernel's buffer is full: the transport waits for room
            except OSError:
                self.abort()
                return
        if data:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                future, _ = waiting.popleft()
                if future.cancelled():
                    continue
                if isinstance(reply, ReplyError):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (ConnectionError, IndexError, UnicodeDecodeError):
            self.abort()  # what comes in is not the protocol any more, or more than was asked for

    def _look_at_clock(self) -> None:
        if self._waiting and self._loop.time() - self._waiting[0][1] > self._timeout_s:
            self.abort()
            return
        self._watch = self._loop.call_later(self._timeout_s / 4, self._look_at_clock)

    def abort(self) -> None:
        """The connection is closed at once; whoever waits learns that the reply is lost."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        self.is_over = True
        if self._watch is not None:
            self._watch.cancel()
        unsent = self._unsent_count
        self._unsent, self._unsent_count = [], 0
        waiting, self._waiting = self._waiting, deque()
        for i, (future, _) in enumerate(waiting):
            if not future.done():
                is_sent = i < len(waiting) - unsent
                future.set_exception(Lost("the reply is lost") if is_sent else NotSent("the connection broke first"))
        self._transport = None
        if not self.lost.done():
            self.lost.set_result(None)
