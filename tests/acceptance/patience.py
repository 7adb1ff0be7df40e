"""Waiting for what another process does by itself: asked again and again, for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

PAUSE_SECONDS = 0.02


async def until(is_so: Callable[[], Awaitable[bool]], seconds_max: float = 15) -> None:
    """The condition holds; it fails if it does not within `seconds_max`."""
    async with asyncio.timeout(seconds_max):
        while not await is_so():  # noqa: ASYNC110 - nobody in this process could set an event
            await asyncio.sleep(PAUSE_SECONDS)
