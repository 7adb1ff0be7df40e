"""A batch out of log entries: every event, and the newest row of everything the events touched, each key once."""

from __future__ import annotations

import asyncio

from gateway.domain.event import CHECKPOINT, EntryInvalid, Event
from gateway.domain.reservation import STATE_OF_LETTER
from gateway.domain.totals import Totals, parse_totals
from gateway.durable.ledger import (
    Batch,
    EventRow,
    LevelRow,
    RequestRow,
    ReservationRow,
    SkuRow,
    SourceRow,
)
from gateway.hot.log import EVENTS_BETWEEN_YIELDS, Entry, Turns


def parts(entries: list[Entry]) -> list[list[Entry]]:
    """The entries in order, each part a batch of its own: it ends with a checkpoint event, as totals are compared at a batch's end."""
    made: list[list[Entry]] = []
    is_ended = True
    for entry in entries:
        if is_ended:
            made.append([])
        made[-1].append(entry)
        is_ended = entry.events[-1].type == CHECKPOINT
    return made


async def build_batch(shard: int, epoch: int, previous_digest: str, entries: list[Entry]) -> Batch:
    """The batch of these consecutive entries, to be appended under `epoch`. At least one entry; one of the `parts` of a log."""
    draft = Draft(shard, epoch, previous_digest, entries[0].events[0].seq)
    turns = Turns()
    for entry in entries:
        draft.add(entry)
        if turns.is_over(len(entry.events)):
            await asyncio.sleep(0)
    return await draft.batch()


class Draft:
    """A batch in the making, entry after entry.

    What an entry tells becomes rows at once, so that its lines can be forgotten while the processor still has them at hand: read
    first and made into rows when two thousand events had been read, they took half as long again.
    """

    def __init__(self, shard: int, epoch: int, previous_digest: str, first_seq: int) -> None:
        """There is no entry in it yet."""
        self._batch = Batch(shard, epoch, first_seq, first_seq - 1, previous_digest, previous_digest)
        #: The newest line of each level: a thousand events of one hot sku are one row in the end.
        self._levels: dict[tuple[str, str, str], tuple[Event, str]] = {}

    def __len__(self) -> int:
        """The number of events so far."""
        return len(self._batch.events)

    def add(self, entry: Entry) -> None:
        """The entry that comes next is in the batch. Raises EntryInvalid."""
        batch, levels = self._batch, self._levels
        batch.last_seq, batch.digest = entry.seq, entry.digest
        for event in entry.events:
            head = ""
            rows: list[str] = []
            for line in event.lines:
                letter = line[0]
                if letter == "L":
                    _, sku, location, _ = line.split("\t", 3)
                    levels[event.shop, sku, location] = (event, line)
                elif letter == "R":
                    head = line
                elif letter == "I":
                    rows.append(line[2:])
                else:
                    _add_rare(batch, event, line.split("\t"))
            random_part = _add_reservation(batch, event, head, rows) if head else None
            batch.events.append(
                EventRow(
                    event.epoch,
                    event.seq,
                    entry.seq,
                    event.type,
                    event.at_ms,
                    event.shop,
                    random_part,
                    event.payload,
                    entry.digest,
                )
            )

    async def batch(self) -> Batch:
        """All that was added. Nothing is added afterwards."""
        for count, (event, line) in enumerate(self._levels.values(), 1):
            _add_level(self._batch, event, line)
            if count % EVENTS_BETWEEN_YIELDS == 0:  # a batch over ten thousand skus takes 3 ms here
                await asyncio.sleep(0)
        return self._batch


def touched(batch: Batch) -> list[str]:
    """What the batch's events touched, by the names of scripts, for `settle`: skus, reservations, and records without a reservation."""
    # Each once and in the order of the batch, so that two runs of one history do the same. A sku with units held is not among them: it
    # lives on, and the event that gives the last of them back touches it again. To look at one costs Redis a quarter of a reserve.
    held = {(row.shop, row.sku) for row in batch.levels.values() if row.held}
    skus = dict.fromkeys(f"s:{shop}/{sku}" for shop, sku, _ in batch.levels if (shop, sku) not in held)
    skus |= dict.fromkeys(f"s:{shop}/{sku}" for shop, sku in batch.skus)
    settled = [f"r:{row.random_part}" for row in batch.reservations.values() if row.state != "held"]
    records = [f"q:{row.record}" for row in batch.requests.values() if not row.target]
    return [*skus, *settled, *records]


def _add_rare(batch: Batch, event: Event, fact: list[str]) -> None:
    """Sources, pauses, request records and totals. Raises EntryInvalid for a line of a kind that this version does not know."""
    letter = fact[0]
    if letter == "S":
        _, sku, location, source, sequence, deduction, digest = fact
        place = (event.shop, sku, location, source)
        batch.sources[place] = SourceRow(*place, int(sequence), int(deduction), digest)
    elif letter == "K":
        _, sku, paused, reason = fact
        batch.skus[event.shop, sku] = SkuRow(event.shop, sku, paused == "1", reason, event.epoch, event.seq)
    elif letter == "Q":
        _, record, operation, fingerprint, target = fact
        batch.requests[record] = RequestRow(record, operation, fingerprint, target, event.epoch, event.seq, event.at_ms)
    elif letter == "T":
        batch.totals[event.seq] = _totals(event, fact)
    else:
        raise EntryInvalid(f"event {event.seq} has a line of the unknown kind {letter!r}")


def _totals(event: Event, fact: list[str]) -> Totals:
    try:
        return parse_totals(" ".join(fact[1:]))
    except ValueError as problem:
        raise EntryInvalid(f"event {event.seq}: {problem}") from problem


def _add_level(batch: Batch, event: Event, line: str) -> None:
    _, sku, location, on_hand, held, committed, deducted, safety, version, *_ = line.split("\t")
    batch.levels[event.shop, sku, location] = LevelRow(
        event.shop,
        sku,
        location,
        int(on_hand),
        int(held),
        int(committed),
        int(deducted),
        int(safety),
        int(version),
        event.epoch,
        event.seq,
        event.at_ms,
    )


def _add_reservation(batch: Batch, event: Event, line: str, rows: list[str]) -> str:
    """The reservation is in the batch as this event left it; returns its random part."""
    _, random_part, head = line.split("\t", 2)
    letter, deadline, _, _, birth_epoch, birth_seq, created, _, ended, shop, _, reference, customer, *_ = head.split(
        "\t"
    )
    skus = tuple([row.partition("\t")[0] for row in rows])
    if len(skus) > 1:  # few have several, of which the same in two places is one
        skus = tuple(dict.fromkeys(skus))
    batch.reservations[random_part] = ReservationRow(
        random_part,
        shop,
        STATE_OF_LETTER[letter],
        reference,
        customer,
        skus[0] if len(skus) == 1 else None,
        skus if len(skus) > 1 else (),
        int(birth_epoch),
        int(birth_seq),
        int(created),
        int(deadline),
        int(ended) if ended else None,
        event.epoch,
        event.seq,
        "\n".join([head, *rows]),
    )
    return random_part
