"""The levels in Redis beside the durable ones: invariant 1, compared at the very seq that Redis told each of them at."""

from __future__ import annotations

from gateway.domain.stock import Level
from gateway.durable.ledger import Books, EventRow, Ledger
from gateway.hot.operations import parse_sku
from gateway.hot.pages import key_pages
from gateway.hot.shard import Shard
from gateway.service.conservation_findings import Findings
from gateway.service.conservation_history import Counters, Place, counters
from gateway.service.conservation_tail import Tail
from gateway.service.verdict import durable_read

SKUS_PAGE = 50


class Levels:
    """The levels that Redis holds, against one snapshot of the durable store."""

    def __init__(self, shard: Shard, ledger: Ledger, tail: Tail, books: Books, findings: Findings) -> None:
        self._shard = shard
        self._ledger = ledger
        self._tail = tail
        self._books = books
        self._findings = findings

    async def check(self) -> None:
        """Redis is the durable store and what is not flushed yet, and no sku with units held is missing.

        Raises DurableStoreUnavailable when the flusher does not come to what Redis told.
        """
        base = f"{self._shard.keys.base}s:"
        async for keys in key_pages(self._shard, base, SKUS_PAGE):
            names = [key.removeprefix(base) for key in keys]
            if names:
                await self._compare(names)
        await self._check_kept()

    async def _check_kept(self) -> None:
        """A sku with units held is in Redis: without it there nobody returns them at their deadline."""
        for shop, sku in {(shop, sku) for (shop, sku, _), level in self._books.levels.items() if level.held}:
            if await self._shard.ask("EXISTS", self._shard.keys.sku(shop, sku)) == 1:
                continue
            now = await durable_read(self._ledger.read_sku(shop, sku))  # the holds may have ended since the snapshot
            if now is not None and any(level.held for level in now.levels.values()):
                self._findings.tell(1, "lost", f"{shop}/{sku}", "its units are held, and Redis does not know the sku")

    async def _compare(self, names: list[str]) -> None:
        shard = self._shard
        declared = tuple(shard.keys.named(f"s:{name}") for name in names)
        answer = await shard.run("read_sku", declared, tuple(names))
        if answer.status != "SKUS":
            # One of them was evicted meanwhile, or more of it is due than one call takes back: the next check sees that one.
            for name in names if len(names) > 1 else ():
                await self._compare([name])
            return
        for text in answer.fields:
            sku = parse_sku(text)
            for level in sku.levels.values():
                self._findings.checked["hot_levels"] += 1
                await self._compare_level((sku.shop, sku.sku, level.location), level)

    async def _compare_level(self, place: Place, level: Level) -> None:
        tell, where, books = self._findings.tell, "/".join(place), self._books
        durable = books.levels.get(place)
        if durable is not None and durable.seq == level.seq:
            if counters(durable) != counters(level):
                tell(1, "drift", where, f"Redis has {counters(level)}, the durable store {counters(durable)}")
            return
        if level.seq <= books.shard.checkpoint:
            seen = "nothing" if durable is None else f"seq {durable.seq}"
            tell(1, "drift", where, f"Redis has seq {level.seq}, which is committed, the durable store {seen}")
            return
        if not await self._tail.is_committed(level.epoch, level.seq):
            tell(1, "drift", where, f"Redis has seq {level.seq}, which the shard has not come to")
            return
        rows = await durable_read(self._ledger.read_events(self._shard.number, level.seq - 1, 1))
        told = _told(rows[0], place) if rows else None
        if told != counters(level):
            tell(1, "drift", where, f"Redis has {counters(level)}, event {level.seq} told {told}")


def _told(row: EventRow, place: Place) -> Counters | None:
    """The level as this event told it."""
    for line in row.payload.split("\n"):
        fact = line.split("\t")
        if fact[0] == "L" and (row.shop, fact[1], fact[2]) == place:
            on_hand, held, committed, deducted, safety = (int(number) for number in fact[3:8])
            return (on_hand, held, committed, deducted, safety)
    return None
