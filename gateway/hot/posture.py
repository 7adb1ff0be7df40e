"""The posture of the Redis we were given, looked at again and again: what was right at the start can be changed any moment."""

from __future__ import annotations

from typing import Final

import structlog

from gateway.domain.errors import HotStoreUnavailable
from gateway.hot.damage import condemn
from gateway.hot.judgement import Judgement, judge
from gateway.hot.link import Lost, NotSent, ReplyError
from gateway.hot.shard import Shard

log = structlog.get_logger(__name__)

#: Between two looks. INFO takes Redis about 0.1 ms; what is evicted meanwhile may be sold twice from memory.
LOOK_S: Final = 2.0


class Posture:
    """What the newest look found. A server that is not fit keeps the shard closed; one that has thrown keys away loses it."""

    def __init__(self, shard: Shard, judgement: Judgement) -> None:
        """`judgement` is the one of the start, without refusals."""
        self._shard = shard
        self.judgement = judgement
        self._baseline = judgement
        self._tell_warnings([])

    async def step(self) -> int:
        """One look, 0. Raises HotStoreUnavailable where keys were thrown away and meta can not be told so."""
        try:
            found = await judge(self._shard.link)
        except (ReplyError, Lost, NotSent):
            return 0  # no connection, or one that is busy: that is seen to where it shows
        await self._take(found)
        return 0

    async def admit(self) -> None:
        """The server is fit, and what it threw away is known: a shard may be opened on it. Raises HotStoreUnavailable."""
        try:
            found = await judge(self._shard.link)
        except (ReplyError, Lost, NotSent) as problem:
            raise HotStoreUnavailable("Redis does not answer") from problem
        await self._take(found)
        if found.refusals:
            raise HotStoreUnavailable("; ".join(found.refusals))

    async def _take(self, found: Judgement) -> None:
        before, self.judgement = self.judgement, found
        if found.refusals and found.refusals != before.refusals:
            log.error("redis_refused", refusals=found.refusals)
        self._tell_warnings(before.warnings)
        if found.refusals:
            self._shard.close()
        evicted = found.evicted - self._baseline.evicted if found.run_id == self._baseline.run_id else 0
        if evicted > 0:
            # Which ones, nobody knows. A level that comes back from the durable store lacks what was not committed yet.
            await condemn(self._shard, f"Redis has thrown {evicted} keys away to make room")
        self._baseline = found

    def _tell_warnings(self, before: list[str]) -> None:
        for warning in self.judgement.warnings:
            if warning not in before:
                log.warning("redis_posture", warning=warning)
