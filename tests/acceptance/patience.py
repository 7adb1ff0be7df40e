"""Waiting for what another process does by itself: asked again and again, for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.acceptance.answers import Answer

PAUSE_SECONDS = 0.02


async def until(is_so: Callable[[], Awaitable[bool]], seconds_max: float = 30) -> None:
    """The condition holds; it fails if it does not within `seconds_max`."""
    async with asyncio.timeout(seconds_max):
        while not await is_so():  # noqa: ASYNC110 - nobody in this process could set an event
            await asyncio.sleep(PAUSE_SECONDS)


async def answered(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """The first answer to the call, repeated as it is, that is no 503."""
    async with asyncio.timeout(30):
        while (answer := await call()).status == 503:  # noqa: ASYNC110 - as above
            await asyncio.sleep(PAUSE_SECONDS)
        return answer
