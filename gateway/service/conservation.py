"""The conservation check: nothing may be lost or made between Redis, the durable levels, the reservations and the log.

It works online: the durable side is read in one snapshot, and what Redis tells is compared at the very seq it was read
at.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from gateway.domain.answer import Conservation
from gateway.domain.errors import DurableStoreUnavailable
from gateway.domain.event import GENESIS, EntryInvalid, is_chained, parse_events
from gateway.domain.stock import Level
from gateway.durable.ledger import Books, EventRow, Ledger
from gateway.flush.watermark import NotReached, Watermark
from gateway.hot.operations import parse_sku
from gateway.hot.shard import Shard
from gateway.service.verdict import durable_read

EVENTS_PAGE = 2000
SKUS_PAGE = 50
CATCH_UP_MS = 5000
VIOLATIONS_MAX = 1000

Place = tuple[str, str, str]
Counters = tuple[int, int, int, int, int]


class Audit:
    """One run of the check."""

    def __init__(self, shard: Shard, ledger: Ledger, watermark: Watermark) -> None:
        self._shard = shard
        self._ledger = ledger
        self._watermark = watermark
        self._violations: list[dict[str, object]] = []
        self._checked: Counter[str] = Counter()
        self._replayed: dict[Place, Counters] = {}

    async def run(self) -> Conservation:
        """What was looked at, and every violation found, at most 1000."""
        books = await durable_read(self._ledger.read_books(self._shard.number))
        self._check_reservations(books)
        await self._check_events(books)
        self._check_replay(books)
        await self._check_redis(books)
        await self._check_holds(books)
        return Conservation(dict(self._checked), self._violations)

    def _tell(self, invariant: int, kind: str, where: str, detail: str) -> None:
        if len(self._violations) < VIOLATIONS_MAX:
            self._violations.append({"invariant": invariant, "kind": kind, "where": where, "detail": detail})

    def _check_reservations(self, books: Books) -> None:
        """Invariant 1: held and committed are the sums over the open reservations."""
        for place in books.levels.keys() | books.held.keys() | books.committed.keys():
            level = books.levels.get(place)
            self._checked["levels"] += 1
            for name, sums in (("held", books.held), ("committed", books.committed)):
                counted, summed = getattr(level, name) if level else 0, sums.get(place, 0)
                if counted != summed:
                    self._tell(1, name, "/".join(place), f"the level counts {counted}, its reservations {summed}")

    async def _check_events(self, books: Books) -> None:
        """Invariant 6: no gap, no double, the chain holds; and gathers what invariant 2 needs."""
        seq, digest = 0, GENESIS
        entry: list[EventRow] = []
        while seq < books.shard.checkpoint:
            page = await durable_read(self._ledger.read_events(self._shard.number, seq, EVENTS_PAGE))
            if not page:
                self._tell(6, "gap", f"seq {seq + 1}", f"the log ends here, the checkpoint is {books.shard.checkpoint}")
                return
            for row in page:
                if row.seq > books.shard.checkpoint:
                    break
                if row.seq != seq + 1:
                    self._tell(6, "gap", f"seq {seq + 1}", f"the next event is {row.seq}")
                seq = row.seq
                entry.append(row)
                if row.seq == row.entry_seq:
                    digest = self._check_entry(digest, entry)
                    entry = []
            await asyncio.sleep(0)
        if digest != books.shard.digest:
            self._tell(6, "digest", f"seq {seq}", "the chain does not end in the shard's digest")

    def _check_entry(self, digest: str, entry: list[EventRow]) -> str:
        payload, told = "\n".join(row.payload for row in entry), entry[-1].digest
        if not is_chained(digest, payload, told):
            self._tell(6, "digest", f"seq {entry[0].seq}", "the entry does not follow the one before")
        try:
            events = parse_events(payload)
        except (EntryInvalid, ValueError) as problem:
            self._tell(6, "entry", f"seq {entry[0].seq}", str(problem))
            return told
        for event in events:
            self._checked["events"] += 1
            for fact in event.facts:
                if fact[0] == "L":
                    self._replay((event.shop, fact[1], fact[2]), [int(number) for number in fact[3:]], event.seq)
        return told

    def _replay(self, place: Place, numbers: list[int], seq: int) -> None:
        """Invariants 2 and 6: the deltas give the level that the event tells, and no take left less than nothing."""
        on_hand, held, committed, deducted, safety, _, *deltas = numbers
        after = (on_hand, held, committed, deducted, safety)
        before = self._replayed.get(place, (0, 0, 0, 0, 0))
        summed = tuple(old + delta for old, delta in zip(before, deltas, strict=True))
        if summed != after:
            self._tell(6, "delta", "/".join(place), f"event {seq} tells {after}, its deltas give {summed}")
        self._replayed[place] = after
        is_take = deltas[1] > 0 or (deltas[2] > 0 and deltas[1] == 0)
        available = on_hand - held - committed - deducted - safety
        if is_take and available < 0:
            self._tell(2, "oversold", "/".join(place), f"event {seq} took units and left {available} available")

    def _check_replay(self, books: Books) -> None:
        """Invariant 6: the levels are what the log says."""
        for place, level in books.levels.items():
            now = _counters(level)
            then = self._replayed.get(place, (0, 0, 0, 0, 0))
            if now != then:
                self._tell(6, "level", "/".join(place), f"the level is {now}, the log gives {then}")

    async def _check_redis(self, books: Books) -> None:
        """Redis is the durable store and what is not flushed yet: each level is compared at the seq Redis told it at."""
        base, cursor, shard = self._shard.keys.base, "0", self._shard
        while True:
            cursor, keys = await shard.scan(cursor, f"{base}s:*", SKUS_PAGE)
            names = [key.removeprefix(f"{base}s:") for key in keys]
            if names:
                await self._compare(names, books)
            if cursor == "0":
                return

    async def _check_holds(self, books: Books) -> None:
        """A sku with units held is in Redis: without it there nobody returns them at their deadline."""
        for shop, sku in {(shop, sku) for (shop, sku, _), level in books.levels.items() if level.held}:
            if await self._shard.ask("EXISTS", self._shard.keys.sku(shop, sku)) == 1:
                continue
            now = await durable_read(self._ledger.read_sku(shop, sku))  # the holds may have ended since the snapshot
            if now is not None and any(level.held for level in now.levels.values()):
                self._tell(1, "lost", f"{shop}/{sku}", "its units are held, and Redis does not know the sku")

    async def _compare(self, names: list[str], books: Books) -> None:
        shard = self._shard
        declared = tuple(shard.keys.named(f"s:{name}") for name in names)
        answer = await shard.run("read_sku", declared, tuple(names))
        if answer.status != "SKUS":
            return  # evicted meanwhile, or more is due than one call takes back: the next check sees it
        for text in answer.fields:
            sku = parse_sku(text)
            for level in sku.levels.values():
                self._checked["hot_levels"] += 1
                await self._compare_level((sku.shop, sku.sku, level.location), level, books)

    async def _compare_level(self, place: Place, level: Level, books: Books) -> None:
        where = "/".join(place)
        durable = books.levels.get(place)
        if durable is not None and durable.seq == level.seq:
            if _counters(durable) != _counters(level):
                self._tell(1, "drift", where, f"Redis has {_counters(level)}, the durable store {_counters(durable)}")
            return
        if level.seq <= books.shard.checkpoint:
            seen = "nothing" if durable is None else f"seq {durable.seq}"
            self._tell(1, "drift", where, f"Redis has seq {level.seq}, which is committed, the durable store {seen}")
            return
        try:
            await self._watermark.reached(level.epoch, level.seq, CATCH_UP_MS)
        except NotReached as late:
            raise DurableStoreUnavailable("the flusher is behind; check again") from late
        rows = await durable_read(self._ledger.read_events(self._shard.number, level.seq - 1, 1))
        told = _told(rows[0], place) if rows else None
        if told != _counters(level):
            self._tell(1, "drift", where, f"Redis has {_counters(level)}, event {level.seq} told {told}")


def _counters(level: Level) -> Counters:
    return (level.on_hand, level.held, level.committed, level.deducted, level.safety_stock)


def _told(row: EventRow, place: Place) -> Counters | None:
    """The level as this event told it."""
    for line in row.payload.split("\n"):
        fact = line.split("\t")
        if fact[0] == "L" and (row.shop, fact[1], fact[2]) == place:
            on_hand, held, committed, deducted, safety = (int(number) for number in fact[3:8])
            return (on_hand, held, committed, deducted, safety)
    return None
