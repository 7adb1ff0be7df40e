"""Several coroutines at once, of which the first failure is told as what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.cli.answer import RemoteFailed


async def crowd(count: int, member: Callable[[], Awaitable[None]]) -> None:
    """`count` members ran to their end, side by side.

    Raises:
        RemoteFailed: what the first of them failed with; the others were cut off.
    """

    async def run() -> None:
        await member()

    try:
        async with asyncio.TaskGroup() as members:
            for _ in range(count):
                members.create_task(run())
    except ExceptionGroup as group:
        for failure in group.exceptions:
            if isinstance(failure, RemoteFailed):
                raise failure from group
        raise
