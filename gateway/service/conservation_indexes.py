"""The indexes of deadlines in Redis: per sku its holds, and in the shard the earliest of each sku.

A hold that is not in them never ends by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final

from gateway.domain.reservation import HELD
from gateway.hot.pages import key_pages
from gateway.hot.shard import Shard
from gateway.service.conservation_lives import read_place

PAGE: Final = 500

#: Says what is wrong now, None when nothing is.
Look = Callable[[], Awaitable[str | None]]


class Indexes:
    """The indexes of one shard. Every answer is of this moment: the caller looks again before it believes a bad one."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    async def missing(self, random_part: str, text: str) -> str | None:
        """Which of the hold's skus does not return it at its deadline."""
        head, *rows = text.split("\n")
        fields = head.split("\t")
        deadline, shop = fields[1], fields[9]
        for sku in dict.fromkeys(row.split("\t", 1)[0] for row in rows):
            score = await self._shard.ask("ZSCORE", self._shard.keys.holds(shop, sku), random_part)
            if score is None or _ms(score) != int(deadline):
                told = "not at all" if score is None else f"at {_ms(score)}"
                return f"it is held until {deadline}, and the holds of {shop}/{sku} have it {told}"
        return None

    async def suspects(self, checked: Counter[str]) -> AsyncIterator[tuple[str, str, Look]]:
        """(kind, where, how to look again) of each index entry that looks wrong: of a hold, or of a sku in the shard's index."""
        keys, seen = self._shard.keys, set[str]()
        base = f"{keys.base}d:"
        async for names in key_pages(self._shard, base, PAGE):
            for name in [key.removeprefix(base) for key in names]:
                seen.add(name)
                async for random_part in self._unheld(name, checked):
                    yield "orphan", f"{name}/{random_part}", partial(self._orphan, name, random_part)
                if await self._undue(name) is not None:
                    yield "due", name, partial(self._undue, name)
        async for page in self._entries(keys.due):
            for name in page:
                if name not in seen and await self._undue(name) is not None:
                    yield "due", name, partial(self._undue, name)

    async def _entries(self, key: str) -> AsyncIterator[dict[str, int]]:
        """The members of an index with their deadlines, in pages. What was in it all the time comes for certain."""
        cursor = "0"
        while True:
            reply = await self._shard.ask_list("ZSCAN", key, cursor, "COUNT", PAGE)
            cursor, flat = str(reply[0]), reply[1]
            yield {member: _ms(score) for member, score in zip(flat[::2], flat[1::2], strict=True)}
            if cursor == "0":
                return

    async def _unheld(self, name: str, checked: Counter[str]) -> AsyncIterator[str]:
        """The random parts in a sku's index that do not look like holds of it."""
        async for page in self._entries(f"{self._shard.keys.base}d:{name}"):
            if not page:
                continue
            checked["hot_holds"] += len(page)
            texts = await self._shard.ask_list("MGET", *[self._shard.keys.reservation(one) for one in page])
            for (random_part, deadline), text in zip(page.items(), texts, strict=True):
                if _unlike(name, deadline, text) is not None:
                    yield random_part

    async def _orphan(self, name: str, random_part: str) -> str | None:
        """What is wrong with a hold's entry in a sku's index; None also when it is not there any more."""
        score = await self._shard.ask("ZSCORE", f"{self._shard.keys.base}d:{name}", random_part)
        text = await self._shard.ask("GET", self._shard.keys.reservation(random_part))
        return None if score is None else _unlike(name, _ms(score), None if text is None else str(text))

    async def _undue(self, name: str) -> str | None:
        """Whether a sku's next deadline, in the shard's index and at the sku, is that of its first hold."""
        keys = self._shard.keys
        first = await self._shard.ask_list("ZRANGE", f"{keys.base}d:{name}", 0, 0, "WITHSCORES")
        score = await self._shard.ask("ZSCORE", keys.due, name)
        head = await self._shard.ask("HGET", f"{keys.base}s:{name}", "*")
        if head is None:
            return None  # that Redis has lost the sku is told with the levels
        deadline = _ms(first[1]) if first else 0
        due, next_due = 0 if score is None else _ms(score), int(str(head).split(" ", 1)[0])
        if (due, next_due) == (deadline, deadline):
            return None
        return f"its first hold is due at {deadline}, the shard's index says {due}, the sku {next_due} (0 = none)"


def _unlike(name: str, deadline: int, text: str | None) -> str | None:
    """Why this is not the hold that a sku's index speaks of."""
    if text is None:
        return "the index has it, and there is no such reservation"
    place = read_place(text)
    if place is None or place[0] != HELD:
        return f"the index has it, and the reservation is {'unreadable' if place is None else place[0]}"
    head, *rows = text.split("\n")
    fields = head.split("\t")
    if not any(f"{fields[9]}/{row.split(chr(9), 1)[0]}" == name for row in rows):
        return "the index has it, and the reservation holds nothing of this sku"
    return (
        None if int(fields[1]) == deadline else f"the index has it at {deadline}, the reservation ends at {fields[1]}"
    )


def _ms(score: object) -> int:
    """A deadline as Redis tells a score."""
    return int(float(str(score)))
