"""Rebuilding: what the durable store knows to be open is written under the names of a new generation, which nobody reads yet.

The store is read and Redis written at the same time, in pages of bounded size: at no moment is more than some ten thousand
holds in this process, and no call keeps Redis from its other work for longer than a few milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from gateway.domain.errors import Corrupt
from gateway.domain.stock import Sku
from gateway.durable.ledger import Ledger
from gateway.hot.keys import Keys
from gateway.hot.operations import sku_fields
from gateway.hot.shard import Shard
from gateway.service.hold_index import WORDS_MAX, HoldIndex
from gateway.service.restoring import Restoring

PAGE = 2000  # rows of one question to the durable store

T = TypeVar("T")


@dataclass(slots=True)
class Rebuilt:
    """How much was written."""

    holds: int = 0
    skus: int = 0


async def rebuild(
    shard: Shard, keys: Keys, ledger: Ledger, epoch: int, keep_claim: Callable[[], Awaitable[None]]
) -> Rebuilt:
    """Every open hold and every sku with units held is under `keys`; deadlines are as they were.

    The caller owns the shard's row under `epoch`, so the durable store does not move meanwhile. `keep_claim` is called with
    each page, and raises when the row is another's.

    Raises:
        Corrupt: the holds of a level do not add up to what it counts as held: such books are not opened.
        ShardRecovering: Redis was emptied meanwhile; rebuild again.
        HotStoreUnavailable, LedgerUnavailable: likewise.
    """
    rebuilt, index = Rebuilt(), HoldIndex()
    async with Restoring(shard, keys, epoch) as restoring:
        async with aclosing(_read_ahead(ledger.open_holds(shard.number, PAGE))) as pages:
            async for holds in pages:
                await keep_claim()
                rebuilt.holds += len(holds)
                for call in _calls(holds):
                    await restoring.send("restore_holds", call)
                for call in index.add(holds):
                    await restoring.send("restore_index", call)
        for call in index.rest():
            await restoring.send("restore_index", call)
        async with aclosing(_read_ahead(ledger.skus_with_holds(shard.number, PAGE))) as listed:
            async for skus in listed:
                await keep_claim()
                for call in _calls_of_skus(skus):
                    await restoring.send("restore_skus", call)
        await restoring.settle()
        if left := index.units - restoring.units:
            raise Corrupt(f"{left} units have holds but count none held, the first of {await restoring.unclaimed()}")
        await restoring.end()
    rebuilt.skus = restoring.skus
    return rebuilt


async def _read_ahead(pages: AsyncGenerator[list[T], None]) -> AsyncGenerator[list[T], None]:
    """The same pages, the next of which is read while the last is worked on."""

    async def read() -> list[T] | None:
        return await anext(pages, None)

    async with aclosing(pages):
        following = asyncio.create_task(read())
        try:
            while page := await following:
                following = asyncio.create_task(read())
                yield page
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def _calls(holds: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
    """The arguments of `restore_holds`. A call is bounded by its lines, for these are its bytes; a longer hold goes alone."""
    call: list[str] = []
    lines = 0
    for random_part, packed in holds:
        added = packed.count("\n")
        if call and lines + added > WORDS_MAX // 2:
            yield call
            call, lines = [], 0
        call += (random_part, packed)
        lines += added
    if call:
        yield call


def _calls_of_skus(skus: Iterable[Sku]) -> Iterator[list[str]]:
    """The arguments of `restore_skus`. A call is bounded by its fields; a sku with more goes alone."""
    call: list[str] = []
    for sku in skus:
        fields = ["=", f"{sku.shop}/{sku.sku}", *sku_fields(sku, has_ttl=False)]
        if call and len(call) + len(fields) > WORDS_MAX:
            yield call
            call = []
        call += fields
    if call:
        yield call
