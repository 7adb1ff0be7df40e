"""What the hot store needs of a connection, and how one can fail."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

Reply = Any


class NotSent(Exception):
    """There is no connection, or no room in its queue: the command did not leave, nothing happened."""


class QueueFull(NotSent):
    """As many commands as allowed are under way."""


class Lost(Exception):
    """The command left and its reply did not arrive: it may have run."""


class ReplyError(Exception):
    """The server answered with an error; `word` is its first word, such as NOSCRIPT or OOM."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.word = message.split(" ", 1)[0]


class Refused(Exception):
    """The server is not one to work with: wrong password, a replica, too old. The message names the mend."""


class Link(Protocol):
    """What the hot store needs of a connection."""

    lineage: str

    def call(self, *arguments: str | int | bytes) -> asyncio.Future[Reply]:
        """The reply's future.

        Raises NotSent; the future raises Lost, ReplyError or NotSent. Cancelling it leaves the order of replies
        intact.
        """
        ...

    @property
    def pending(self) -> int:
        """Commands whose reply is awaited."""
        ...

    def flush(self) -> None:
        """What was called in this tick leaves now, not at its end."""
        ...

    def drop(self) -> None:
        """The connection is given up, because what came over it can not be trusted; a new one is made."""
        ...

    async def wait_connected(self, timeout_s: float) -> bool:
        """Whether there is a connection, at the latest after the time."""
        ...

    async def verify(self) -> None:
        """The server at the other end is the primary now, by its own word and, where there are sentinels, by their majority.

        Raises NotSent where that is not so, or where nobody can tell.
        """
        ...

    async def start(self) -> None:
        """The connection is up."""
        ...

    async def close(self) -> None:
        """The connection is closed and stays so."""
        ...
