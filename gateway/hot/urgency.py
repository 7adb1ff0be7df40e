"""From a process where somebody waits for a commit to the one that flushes: a stream of one entry, which blocks its reader.

Without it the flusher would either keep every commit waiting or never let changes gather, which costs the database most.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.domain.errors import HotStoreUnavailable
from gateway.hot.link import Link, Lost, NotSent, QueueFull, Reply, ReplyError
from gateway.hot.shard import Shard

WAIT_MS_MAX: Final = 200


class Urging:
    """Tells that somebody waits. What is told while the last word is under way is told once more behind it."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._sent: asyncio.Future[Reply] | None = None
        self._is_wanted = False

    def urge(self) -> None:
        """The flusher learns of it in a moment; lost words are not repeated, it looks by itself within `flush.lag_ms_max`."""
        if self._sent is not None:
            self._is_wanted = True
            return
        try:
            self._sent = self._shard.link.call("XADD", self._shard.keys.urgency, "MAXLEN", 1, "*", "w", 1)
        except (NotSent, QueueFull):
            return
        self._sent.add_done_callback(self._is_told)

    def _is_told(self, sent: asyncio.Future[Reply]) -> None:
        self._sent = None
        # A refusal is nothing to mend here: who waits for the commit has a time of its own.
        has_failed = not sent.cancelled() and sent.exception() is not None
        if self._is_wanted and not has_failed:
            self._is_wanted = False
            self.urge()


class UrgencyWatch:
    """Blocks on a connection of its own: on the shard's, all other commands would wait behind it."""

    def __init__(self, link: Link, shard: Shard, *, timeout_ms: int) -> None:
        """`timeout_ms` is after what the link gives up a command."""
        self._link = link
        self._shard = shard
        self._wait_ms = min(WAIT_MS_MAX, max(timeout_ms // 2, 1))
        self._last_id = "0"

    async def is_urged(self) -> bool:
        """Whether anybody has waited since the last call; waits for it for `WAIT_MS_MAX`. Raises HotStoreUnavailable."""
        key = self._shard.keys.urgency
        try:
            found = await self._link.call("XREAD", "BLOCK", self._wait_ms, "STREAMS", key, self._last_id)
        except (Lost, NotSent, ReplyError) as problem:
            self._last_id = "0"  # another server may count from anywhere
            raise HotStoreUnavailable(f"the urgency of commits cannot be watched: {problem}") from problem
        if not found:
            return False
        self._last_id = found[0][1][-1][0]
        return True
