"""What is left in Redis of what is over: keys of generations that are gone, and settled keys that would live for ever."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import redis

from tests.faults.reading import META, PAGE
from tests.faults.stores import parse_held

#: The flusher looks through a page of keys at each turn in which it has nothing else to do.
SECONDS_MAX: Final = 10.0


async def nothing_remains(redis_url: str) -> None:
    """Every key of the shard is of its generation, and each reservation that ended, and each sku without holds, has a life.

    For a deployment at rest whose log is committed; it is waited for, as both are done in the background.
    """
    end_s = time.monotonic() + SECONDS_MAX
    while remains := _remains(redis_url):
        assert time.monotonic() < end_s, f"{len(remains)} remain, among them {remains[:5]}"
        await asyncio.sleep(0.1)


def _remains(redis_url: str) -> list[str]:
    found: list[str] = []
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        meta: Any = client.hgetall(META)
        base, checkpoint = f"{{rg0}}:{meta['gen']}:", int(meta["checkpoint"])
        if int(meta["seq"]) != checkpoint:
            found.append(f"{int(meta['seq']) - checkpoint} events between checkpoint and end")
        if (left := client.xlen(f"{base}log")) != 1:
            found.append(f"{left} entries of a log that is committed")
        for name in client.scan_iter("{rg0}:*", count=PAGE):
            if name == META:
                continue
            if not name.startswith(base):
                found.append(f"{name}, of another generation than {meta['gen']}")
            elif _is_settled(client, name.removeprefix(base), name) and client.ttl(name) == -1:
                found.append(f"{name}, which is settled and has no life")
    return found


def _is_settled(client: Any, short: str, name: str) -> bool:
    kind, _, rest = short.partition(":")
    if kind == "r":
        text = client.get(name)
        return text is not None and parse_held(rest, text).state != "held"
    if kind == "s":
        levels = [text for field, text in client.hgetall(name).items() if field.startswith("L")]
        return bool(levels) and all(text.split(" ")[1] == "0" for text in levels)
    return False
