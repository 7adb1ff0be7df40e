"""Pages of keys: whoever has to look at all keys of a kind does so a bounded number at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from gateway.hot.shard import Shard


async def key_pages(shard: Shard, base: str, page_max: int) -> AsyncIterator[list[str]]:
    """All keys whose names begin with `base`, page by page, some perhaps twice. A page is of about `page_max`, and may be empty.

    What was there all the time comes for certain. Raises HotStoreUnavailable.
    """
    cursor = "0"
    while True:
        cursor, keys = await shard.scan(cursor, f"{base}*", page_max)
        yield keys
        if cursor == "0":
            return
