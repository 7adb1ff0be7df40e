"""Waiting for the log to grow, for a flusher that no request of its own process wakes."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.domain.errors import HotStoreUnavailable
from gateway.hot.link import Link, Lost, NotSent, ReplyError
from gateway.hot.shard import Shard

WAIT_MS_MAX: Final = 200
#: Changes of one moment share a commit.
GATHER_S: Final = 0.001


class LogWatch:
    """Blocks on a connection of its own: on the shard's, all other commands would wait behind it."""

    def __init__(self, link: Link, shard: Shard, *, timeout_ms: int) -> None:
        """`timeout_ms` is after what the link gives up a command."""
        self._link = link
        self._shard = shard
        self._wait_ms = min(WAIT_MS_MAX, max(timeout_ms // 2, 1))

    async def has_more(self, after_seq: int) -> bool:
        """Whether the log holds more than up to this seq; waits for it for `WAIT_MS_MAX`. Raises HotStoreUnavailable."""
        log = self._shard.keys.log
        try:
            found = await self._link.call("XREAD", "COUNT", 1, "BLOCK", self._wait_ms, "STREAMS", log, f"{after_seq}-0")
        except (Lost, NotSent, ReplyError) as problem:
            raise HotStoreUnavailable(f"the log cannot be watched: {problem}") from problem
        if found is None:
            return False
        await asyncio.sleep(GATHER_S)
        return True
