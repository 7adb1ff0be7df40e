"""A batch out of log entries: every event, and the newest row of everything the events touched, each key once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gateway.domain.event import Event
from gateway.domain.reservation import STATE_OF_LETTER
from gateway.durable.ledger import (
    Batch,
    EventRow,
    LevelRow,
    RequestRow,
    ReservationRow,
    SkuRow,
    SourceRow,
)
from gateway.hot.log import EVENTS_BETWEEN_YIELDS, Entry


async def build_batch(shard: int, epoch: int, previous_digest: str, entries: list[Entry]) -> Batch:
    """The batch of these consecutive entries, to be appended under `epoch`. At least one entry."""
    batch = Batch(
        shard=shard,
        epoch=epoch,
        first_seq=entries[0].events[0].seq,
        last_seq=entries[-1].seq,
        previous_digest=previous_digest,
        digest=entries[-1].digest,
    )
    added = 0
    for entry in entries:
        for event in entry.events:
            _add(batch, entry, event)
        added += len(entry.events)
        if added >= EVENTS_BETWEEN_YIELDS:
            added = 0
            await asyncio.sleep(0)
    return batch


def touched(batch: Batch) -> list[str]:
    """What the batch's events touched, by the names of scripts, for `settle`: skus, reservations, and records without a reservation."""
    skus = {f"s:{shop}/{sku}" for shop, sku, _ in batch.levels}
    skus.update(f"s:{shop}/{sku}" for shop, sku in batch.skus)
    settled = [f"r:{row.random_part}" for row in batch.reservations.values() if row.state != "held"]
    records = [f"q:{row.record}" for row in batch.requests.values() if not row.target]
    return [*skus, *settled, *records]


def _add(batch: Batch, entry: Entry, event: Event) -> None:
    reservation: list[str] | None = None
    lines: list[list[str]] = []
    for fact in event.facts:
        letter = fact[0]
        if letter == "L":
            _add_level(batch, event, fact)
        elif letter == "R":
            reservation = fact
        elif letter == "I":
            lines.append(fact)
        elif letter == "S":
            _, sku, location, source, sequence, deduction, digest = fact
            batch.sources[event.shop, sku, location, source] = SourceRow(
                event.shop, sku, location, source, int(sequence), int(deduction), digest
            )
        elif letter == "K":
            _, sku, paused, reason = fact
            batch.skus[event.shop, sku] = SkuRow(event.shop, sku, paused == "1", reason, event.epoch, event.seq)
        elif letter == "Q":
            _, record, operation, fingerprint, target = fact
            batch.requests[record] = RequestRow(
                record, operation, fingerprint, target, event.epoch, event.seq, event.at_ms
            )
    if reservation is not None:
        _add_reservation(batch, event, reservation, lines)
    batch.events.append(
        EventRow(
            event.epoch,
            event.seq,
            entry.seq,
            event.type,
            event.at_ms,
            event.shop,
            None if reservation is None else reservation[1],
            event.payload,
            entry.digest,
        )
    )


def _add_level(batch: Batch, event: Event, fact: list[str]) -> None:
    _, sku, location, on_hand, held, committed, deducted, safety, version = fact[:9]
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


def _add_reservation(batch: Batch, event: Event, fact: list[str], lines: Iterable[list[str]]) -> None:
    random_part, letter, deadline, _, _, birth_epoch, birth_seq, created, _, ended, shop, _, reference, customer = fact[
        1:15
    ]
    rows = ["\t".join(line[1:]) for line in lines]
    skus = tuple(dict.fromkeys(line[1] for line in lines))
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
        "\n".join(["\t".join(fact[2:]), *rows]),
    )
