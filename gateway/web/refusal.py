"""Refusals: what a client is told for whose connection there is no room, and how it can read that to the end.

A system that closes a connection on which something stands unread, or still arrives, resets it, and the reset overtakes the answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final, cast

RECEIVE_BYTES: Final = 65_536
#: What a refused client may take to begin its request, and again to send it all and read its answer.
REFUSAL_S_MAX: Final = 1.0

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


def is_whole(come: bytes) -> bool:
    """Whether no more of the request can be on its way: a connection that is closed before would take its answer along.

    False where it is not sure, also for what fills the piece that was looked at.
    """
    head, end, body = come.partition(b"\r\n\r\n")
    if not end or len(come) >= RECEIVE_BYTES or _CHUNKED.search(head):
        return False
    length = _LENGTH.search(head + b"\r\n")
    return len(body) >= (int(length[1]) if length else 0)


class Refusal(asyncio.Protocol):
    """Tells a client that there is no room, once its request begins to come: an answer without a question may be taken for anything.

    Then only our half of the connection ends, and what the client still sends is read and dropped until it ends its own.
    """

    def __init__(self, answer: Callable[[], bytes], refusing: set[Refusal]) -> None:
        """`answer` is called when it is needed; `refusing` has this one in it for as long as its connection lasts."""
        self._answer = answer
        self._refusing = refusing
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_told = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client has its time to ask."""
        self._refusing.add(self)
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(REFUSAL_S_MAX, self._tell)

    def data_received(self, data: bytes) -> None:
        """Its request has begun, or goes on."""
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing of it is left."""
        self._refusing.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None

    def _tell(self) -> None:
        """The client is told, also one that has said nothing in its time: its request may stand in the kernel's buffer by now."""
        if self._is_told or self._transport is None or self._transport.is_closing():
            return
        self._is_told = True
        if self._timer is not None:
            self._timer.cancel()
        self._transport.write(self._answer())
        self._transport.write_eof()
        self._timer = asyncio.get_running_loop().call_later(REFUSAL_S_MAX, self.end)

    def end(self) -> None:
        """The client has had its time."""
        if self._transport is not None:
            self._transport.abort()
