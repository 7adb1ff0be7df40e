"""Restoring: the calls that fill a generation which nobody reads yet, a few of them under way at a time.

The generation carries a mark as long as it is being filled. Every call looks for it, so a call that was stuck in a socket
writes nothing into a shard that is open, and a server that was emptied meanwhile is noticed.
"""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.domain.errors import Corrupt, ShardRecovering
from gateway.hot.keys import Keys
from gateway.hot.pages import key_pages
from gateway.hot.shard import Shard

CALLS_MAX = 4  # under way: Redis has the next at hand when it has ended one
SCAN_PAGE = 1000  # keys that one SCAN looks at
EMPTIED = "Redis was emptied while the shard was rebuilt"


class Restoring:
    """A context; when it ends no call is under way."""

    def __init__(self, shard: Shard, keys: Keys, epoch: int) -> None:
        self._shard = shard
        self._keys = keys
        self._epoch = epoch
        self._under_way: deque[asyncio.Task[list[str]]] = deque()
        #: What `restore_skus` told: units that levels count as held, and skus that were written.
        self.units = self.skus = 0

    async def __aenter__(self) -> Restoring:
        """Nothing but the mark is under the generation's names: a store that was set back counts the same epochs again."""
        await self._shard.ask("DEL", self._keys.restoring)
        async for names in key_pages(self._shard, self._keys.base, SCAN_PAGE):
            if names:
                await self._shard.ask("UNLINK", *names)
        await self._shard.ask("SET", self._keys.restoring, self._epoch)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def send(self, script: str, arguments: list[str]) -> None:
        """The call is under way. Raises what an earlier one ended with, as `settle` does."""
        if len(self._under_way) == CALLS_MAX:
            self._take(await self._under_way.popleft())
        keys = (self._keys.meta, self._keys.log, self._keys.due)
        asked = self._shard.ask_script(script, keys, "restore", self._epoch, *arguments)
        self._under_way.append(asyncio.create_task(asked))

    async def settle(self) -> None:
        """All calls have been answered.

        Raises:
            Corrupt: a level counts other units as held than its holds have.
            ShardRecovering: Redis was emptied meanwhile; rebuild again.
            HotStoreUnavailable: likewise.
        """
        while self._under_way:
            self._take(await self._under_way.popleft())

    async def end(self) -> None:
        """What was written is all there, and a call that comes late writes no more. Raises ShardRecovering."""
        await self.settle()
        if await self._shard.ask("DEL", self._keys.restoring) != 1:
            raise ShardRecovering(EMPTIED)

    async def unclaimed(self) -> str:
        """One of the skus that have holds and were not restored themselves."""
        base = f"{self._keys.base}s:"
        async for names in key_pages(self._shard, base, SCAN_PAGE):
            for name in names:
                if await self._shard.ask("HEXISTS", name, "*") == 0:
                    return name.removeprefix(base)
        return "a sku that is gone"

    def _take(self, reply: list[str]) -> None:
        _, status, *fields = reply
        if status == "GONE":
            raise ShardRecovering(EMPTIED)
        if status == "DIFFERENT":
            sku, location, held, counted = fields
            raise Corrupt(f"level {sku}/{location} counts {held} held, its reservations {counted}")
        if fields:
            self.units += int(fields[0])
            self.skus += int(fields[1])
