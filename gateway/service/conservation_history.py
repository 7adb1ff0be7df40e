"""The durable log from its first event: the chain, what its differences add up to, and the lives it tells.

Invariants 2, 6 and 8. One page of events is in memory at a time, beside the counters of every level and the open
reservations.
"""

from __future__ import annotations

import asyncio

from gateway.domain.event import CONFIGURED, COUNTED, GENESIS, REPAIRED, Event, is_chained, parse_events
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
NOTHING: Counters = (0, 0, 0, 0, 0)


class History:
    """The log of one shard, replayed up to a checkpoint."""

    def __init__(self, ledger: Ledger, shard: int, findings: Findings) -> None:
        self._ledger = ledger
        self._shard = shard
        self._findings = findings
        self._seq = 0
        self._digest = GENESIS
        #: The levels as the log told them last.
        self.told: dict[Place, Counters] = {}
        #: As they would be if nobody but the scripts had changed them: what a source said, and since then the differences.
        self.sound: dict[Place, Counters] = {}
        self.versions: dict[Place, int] = {}
        self.lives = Lives(shard, findings, self._former)

    async def replay(self, end: ShardRow) -> None:
        """Every event up to the row's checkpoint was followed, from where an earlier replay ended.

        Cost: one read of the log, and a row looked up per ended life.
        """
        tell, seq = self._findings.tell, self._seq
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
        self._seq = seq
        if seq == end.checkpoint and self._digest != end.digest:
            tell(6, "digest", f"seq {seq}", "the chain does not end in the shard's digest")

    def check_levels(self, levels: dict[Place, Level]) -> None:
        """Invariant 6: the levels are what the log says."""
        for place in levels.keys() | self.told.keys():
            now = counters(levels[place]) if place in levels else None
            then = self.told.get(place)
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
                    self._add((event.shop, fact[1], fact[2]), [int(number) for number in fact[3:]], event)
            if told is not None:
                await self.lives.follow(event, told)
        except UNREADABLE as problem:
            self._findings.tell(6, "entry", f"seq {row.seq}", f"the event cannot be read: {problem}")
        self._findings.checked["events"] += 1

    def _add(self, place: Place, numbers: list[int], event: Event) -> None:
        """Invariants 2 and 6: the deltas give the level that the event tells, and no take left less than nothing.

        A repair puts right whatever differences had not given the level until then.
        """
        on_hand, held, committed, deducted, safety, version, *deltas = numbers
        after = (on_hand, held, committed, deducted, safety)
        if event.type == REPAIRED:
            self._findings.settle("delta", "/".join(place))
        summed = _sum(self.told.get(place, NOTHING), deltas)
        if summed != after:
            self._findings.tell(
                6, "delta", "/".join(place), f"event {event.seq} tells {after}, its deltas give {summed}"
            )
        self.told[place], self.versions[place] = after, version
        sound = _sum(self.sound.get(place, NOTHING), deltas)
        if event.type == REPAIRED:
            sound = after
        elif event.type in (COUNTED, CONFIGURED):  # what a source says is so, whatever was there before
            sound = (on_hand, sound[1], sound[2], deducted, safety)
        self.sound[place] = sound
        is_take = event.type != REPAIRED and (deltas[1] > 0 or (deltas[2] > 0 and deltas[1] == 0))
        available = on_hand - held - committed - deducted - safety
        if is_take and available < 0:
            self._findings.tell(
                2, "oversold", "/".join(place), f"event {event.seq} took units and left {available} available"
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

    async def last_told(self, random_part: str, text: str) -> str | None:
        """The text that the log told last of this reservation, None when it never did. `text`: any that names its birth."""
        told = Told(random_part, text)
        return self.lives.open.get(random_part) or await self._former(told, self._seq + 1)

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


def _sum(before: Counters, deltas: list[int]) -> Counters:
    on_hand, held, committed, deducted, safety = (old + delta for old, delta in zip(before, deltas, strict=True))
    return (on_hand, held, committed, deducted, safety)


def counters(level: Level) -> Counters:
    """The counters of a level, in the order of events."""
    return (level.on_hand, level.held, level.committed, level.deducted, level.safety_stock)
