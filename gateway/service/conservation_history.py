"""The durable log from its first event: the chain, what its differences add up to, and the lives it tells.

Invariants 2, 6 and 8. One page of events is in memory at a time, beside the counters of every level and the open
reservations.
"""

from __future__ import annotations

import asyncio

from gateway.domain.event import GENESIS, Event, is_chained, parse_events
from gateway.domain.stock import Level
from gateway.durable.ledger import EventRow, Ledger, ShardRow
from gateway.hot.log import EVENTS_BETWEEN_YIELDS
from gateway.service.conservation_findings import Findings
from gateway.service.conservation_lives import Lives, Told, public_id, seq_of, told_by
from gateway.service.verdict import durable_read

EVENTS_PAGE = 2000

#: What a text raises that no script has written. EntryInvalid is a ValueError.
UNREADABLE = (ValueError, KeyError, IndexError)

Place = tuple[str, str, str]
Counters = tuple[int, int, int, int, int]


class History:
    """The log of one shard, replayed up to a checkpoint."""

    def __init__(self, ledger: Ledger, shard: int, findings: Findings) -> None:
        self._ledger = ledger
        self._shard = shard
        self._findings = findings
        self._replayed: dict[Place, Counters] = {}
        self._digest = GENESIS
        self.lives = Lives(shard, findings, self._former)

    async def replay(self, end: ShardRow) -> None:
        """Every event up to the row's checkpoint was followed. Cost: one read of the log, and a row looked up per ended life."""
        tell, seq = self._findings.tell, 0
        entry: list[EventRow] = []
        while seq < end.checkpoint:
            page = await durable_read(self._ledger.read_events(self._shard, seq, EVENTS_PAGE))
            page = [row for row in page if row.seq <= end.checkpoint]
            if not page:
                tell(6, "gap", f"seq {seq + 1}", f"the log ends here, the checkpoint is {end.checkpoint}")
                break
            for row in page:
                if row.seq != seq + 1:
                    tell(6, "gap", f"seq {seq + 1}", f"the next event is {row.seq}")
                seq = row.seq
                if entry and entry[0].entry_seq != row.entry_seq:
                    self._check_chain(entry)
                    entry = []
                entry.append(row)
                await self._follow(row)
                if row.seq % EVENTS_BETWEEN_YIELDS == 0:
                    await asyncio.sleep(0)
                if row.seq == row.entry_seq:
                    self._check_chain(entry)
                    entry = []
            await self._check_ended()
        if seq == end.checkpoint and self._digest != end.digest:
            tell(6, "digest", f"seq {seq}", "the chain does not end in the shard's digest")

    def check_levels(self, levels: dict[Place, Level]) -> None:
        """Invariant 6: the levels are what the log says."""
        for place in levels.keys() | self._replayed.keys():
            now = counters(levels[place]) if place in levels else None
            then = self._replayed.get(place)
            if now != then:
                self._findings.tell(6, "level", "/".join(place), f"the level is {now}, the log gives {then}")

    def _check_chain(self, entry: list[EventRow]) -> None:
        payload, told = "\n".join(row.payload for row in entry), entry[-1].digest
        if not is_chained(self._digest, payload, told):
            self._findings.tell(6, "digest", f"seq {entry[0].seq}", "the entry does not follow the one before")
        self._digest = told

    async def _follow(self, row: EventRow) -> None:
        """What the event says of levels and of a reservation; one that cannot be read is told and left out."""
        try:
            event, told = _parsed(row)
            columns = (row.seq, row.type, row.shop, row.reservation)
            said = (event.seq, event.type, event.shop, told and told.random_part)
            if columns != said:
                self._findings.tell(6, "entry", f"seq {row.seq}", f"the row is {columns}, its payload {said}")
            for fact in event.facts:
                if fact[0] == "L":
                    self._add((event.shop, fact[1], fact[2]), [int(number) for number in fact[3:]], event.seq)
            if told is not None:
                await self.lives.follow(event, told)
        except UNREADABLE as problem:
            self._findings.tell(6, "entry", f"seq {row.seq}", f"the event cannot be read: {problem}")
        self._findings.checked["events"] += 1

    def _add(self, place: Place, numbers: list[int], seq: int) -> None:
        """Invariants 2 and 6: the deltas give the level that the event tells, and no take left less than nothing."""
        on_hand, held, committed, deducted, safety, _, *deltas = numbers
        after = (on_hand, held, committed, deducted, safety)
        before = self._replayed.get(place, (0, 0, 0, 0, 0))
        summed = tuple(old + delta for old, delta in zip(before, deltas, strict=True))
        if summed != after:
            self._findings.tell(6, "delta", "/".join(place), f"event {seq} tells {after}, its deltas give {summed}")
        self._replayed[place] = after
        is_take = deltas[1] > 0 or (deltas[2] > 0 and deltas[1] == 0)
        available = on_hand - held - committed - deducted - safety
        if is_take and available < 0:
            self._findings.tell(
                2, "oversold", "/".join(place), f"event {seq} took units and left {available} available"
            )

    async def _check_ended(self) -> None:
        """Invariant 8: what ended is stored. Whether the row says so is looked at from the row's side."""
        ended, self.lives.ended = self.lives.ended, {}
        if not ended:
            return
        stored = await durable_read(self._ledger.stored_among(list(ended)))
        for random_part, text in ended.items():
            if random_part not in stored:
                where = public_id(self._shard, random_part, text)
                self._findings.tell(8, "row", where, f"event {seq_of(text)} ended it, and it has no row")

    async def _former(self, told: Told, seq: int) -> str | None:
        """What the log told of this reservation before, looked up: it has ended, or its beginning is missing."""
        row = await durable_read(self._ledger.change_before(self._shard, told.random_part, seq))
        if row is None:
            birth = int(told.text.split("\t", 6)[5])
            rows = await durable_read(self._ledger.events_at(self._shard, [birth])) if birth < seq else []
            row = rows[0] if rows else None
        if row is None or row.reservation != told.random_part:
            return None
        try:
            _, former = _parsed(row)
        except UNREADABLE:
            return None  # told as such when its turn came
        return None if former is None else former.text


def _parsed(row: EventRow) -> tuple[Event, Told | None]:
    (event,) = parse_events(row.payload)
    return event, told_by(event)


def counters(level: Level) -> Counters:
    """The counters of a level, in the order of events."""
    return (level.on_hand, level.held, level.committed, level.deducted, level.safety_stock)
