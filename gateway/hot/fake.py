"""A Redis inside this process, by fakeredis: the embedded default's last resort, for one worker and nothing to lose.

It speaks the same `Link` as a socket. Everything in it is gone with the process; the durable store still has all that
was flushed.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from gateway.hot.connection import Reply, ReplyError


class FakeLink:
    """A link to a fakeredis server of its own."""

    def __init__(self) -> None:
        from fakeredis import FakeAsyncRedis, FakeServer

        self._redis: Any = FakeAsyncRedis(server=FakeServer(), decode_responses=True, protocol=2)
        self._redis.response_callbacks.clear()  # replies as a server sends them, like those of the socket
        self._order = asyncio.Lock()
        self._tasks: set[asyncio.Task[Reply]] = set()
        self.lineage = uuid.uuid4().hex
        self.problem = ""

    @property
    def pending(self) -> int:
        """Commands whose reply is awaited."""
        return len(self._tasks)

    def call(self, *arguments: str | int | bytes) -> asyncio.Future[Reply]:
        task = asyncio.ensure_future(self._execute(arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _execute(self, arguments: tuple[str | int | bytes, ...]) -> Reply:
        from redis.exceptions import ResponseError

        async with self._order:
            try:
                return await self._redis.execute_command(*arguments)
            except ResponseError as problem:
                raise ReplyError(str(problem)) from problem

    def flush(self) -> None:
        """Nothing to do: calls leave at once."""

    def drop(self) -> None:
        """Nothing to give up: there is no wire between."""

    async def wait_connected(self, timeout_s: float) -> bool:
        return True

    async def verify(self) -> None:
        """Nothing to verify: there is no other server."""

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        await self._redis.aclose()
