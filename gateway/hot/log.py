"""The log of a shard as the flusher and the opening read it: entries in order, each checked against the chain."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.domain.event import Event, is_chained, parse_events
from gateway.hot.shard import Shard

#: An entry as XRANGE tells it: its id, and its fields and values by turns.
Row: TypeAlias = list[Any]

EVENTS_BETWEEN_YIELDS = 100  # events parsed before requests are let through, about a millisecond


class Turns:
    """Long work on events in turns: whoever does it lets requests through (`asyncio.sleep(0)`) when one is over."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        """A turn begins."""
        self._events = 0

    def is_over(self, events: int) -> bool:
        """Whether the turn is over, with these events done as well; then the next one begins."""
        self._events += events
        if self._events < EVENTS_BETWEEN_YIELDS:
            return False
        self._events = 0
        return True


class ChainBroken(Exception):
    """The log does not continue the history it should: a gap, a foreign digest, or an entry that is not one of ours.

    `entries` are those before it, which do.
    """

    def __init__(self, message: str, entries: list[Entry] | None = None) -> None:
        super().__init__(message)
        self.entries = entries or []


@dataclass(slots=True)
class Entry:
    """What one script call wrote: its events, the seq it ends at, and its digest."""

    seq: int
    payload: str
    digest: str
    events: list[Event]


async def read_entries(
    shard: Shard, after_seq: int, previous_digest: str, count: int, *, generation_log: str = ""
) -> list[Entry]:
    """At most `count` entries after the given seq, each verified to follow the one before.

    Raises ChainBroken, HotStoreUnavailable, and EntryInvalid for an entry that this version can not read.
    """
    entries: list[Entry] = []
    turns = Turns()
    for row in await read_rows(shard, after_seq, count, generation_log=generation_log):
        try:
            entry = entry_of(row, after_seq, previous_digest)
        except ChainBroken as broken:
            raise ChainBroken(str(broken), entries) from broken
        entries.append(entry)
        if turns.is_over(len(entry.events)):
            await asyncio.sleep(0)
        after_seq, previous_digest = entry.seq, entry.digest
    return entries


async def read_rows(shard: Shard, after_seq: int, count: int, *, generation_log: str = "") -> list[Row]:
    """At most `count` entries after the given seq, as Redis tells them. Raises HotStoreUnavailable."""
    return await shard.ask_list("XRANGE", generation_log or shard.keys.log, f"({after_seq}-0", "+", "COUNT", count)


def entry_of(row: Row, after_seq: int, previous_digest: str) -> Entry:
    """The entry, which follows the one that ended at `after_seq` with `previous_digest`. Raises ChainBroken, EntryInvalid."""
    id, fields = row
    seq = int(id.split("-", 1)[0])
    if len(fields) != 4 or fields[0] != "e" or fields[2] != "d":
        raise ChainBroken(f"entry {id} is not one of ours")
    payload, digest = fields[1], fields[3]
    if not is_chained(previous_digest, payload, digest):
        raise ChainBroken(f"entry {id} does not follow the digest {previous_digest}")
    events = parse_events(payload)
    if events[0].seq != after_seq + 1 or events[-1].seq != seq:
        raise ChainBroken(f"entry {id} begins at {events[0].seq}, but {after_seq} came before")
    return Entry(seq, payload, digest, events)
