"""Forgetting: the keys of generations that are over go from Redis, whoever left them, a page at a time."""

from __future__ import annotations

from typing import Final

from gateway.hot.shard import Shard

PAGE: Final = 1000


class Forgetting:
    """A job's step. It begins anew with every opening of the shard.

    So it finds what a rebuild left whose process died or was overtaken, at whatever point. A generation later than the shard's may be
    one that another gateway is building, and stays.
    """

    def __init__(self, shard: Shard) -> None:
        """Nothing is to be looked for."""
        self._shard = shard
        self._cursor: str | None = None  # where to go on; None = all was looked at

    def begin(self) -> None:
        """The shard has just been opened: every key is looked at once more."""
        self._cursor = "0"

    async def step(self) -> int:
        """One page of keys was looked at, and those of generations before the shard's are dropped. Returns 0 when none is left."""
        shard, seen = self._shard, self._cursor
        if seen is None or not shard.is_open:
            return 0
        root = shard.keys.meta.removesuffix("meta")
        cursor, names = await shard.scan(seen, f"{root}[0-9]*", PAGE)
        old = [name for name in names if int(name.removeprefix(root).partition(":")[0]) < shard.keys.generation]
        if old:
            await shard.ask("UNLINK", *old)
        if self._cursor == seen:  # else the shard was opened again meanwhile
            self._cursor = None if cursor == "0" else cursor
        return 1
