"""A batch holds every event, and of everything else the newest row only."""

from __future__ import annotations

from gateway.domain.event import GENESIS, chain, parse_events
from gateway.domain.reservation import parse_reservation
from gateway.flush.batches import build_batch, touched
from gateway.hot.log import Entry, read_entries
from tests.service.gateway import Gateway


async def test_batch_of_many_events_on_one_sku_has_one_level(idle: Gateway) -> None:
    """A hundred reserves of a hot sku are a hundred events and reservations, and one level: the newest."""
    await idle.put("tee", 1000)
    held = [await idle.reserve(("tee", 1)) for _ in range(100)][-1]
    batch = await build_batch(0, 1, GENESIS, await read_entries(idle.shard, 0, GENESIS, 1000))
    assert (batch.first_seq, batch.last_seq, len(batch.events)) == (1, 102, 102)
    (level,) = batch.levels.values()
    assert (level.held, level.version, level.seq) == (100, 101, 102)
    assert len(batch.reservations) == 100
    assert batch.digest == (await idle.log_entries())[-1][1][3]
    row = batch.reservations[held.reservation.id.random_part]
    assert (row.packed, row.created_seq, row.seq) == (held.reservation.pack(), 102, 102)


async def test_batch_tells_a_reservation_as_it_is_in_the_end(idle: Gateway) -> None:
    """A hold that was extended, sold and shipped within a batch is one row with its last state and all its lines."""
    await idle.put("tee", 10)
    await idle.put("mug", 10)
    held = await idle.reserve(("tee", 2), ("mug", 1), key="k", reference="cart-7")
    await idle.extend(held, 600)
    shipped = (await idle.confirm(held, fulfil=True)).reservation
    batch = await build_batch(0, 1, GENESIS, await read_entries(idle.shard, 0, GENESIS, 1000))
    (row,) = batch.reservations.values()
    assert (row.state, row.reference, row.sku, row.skus) == ("fulfilled", "cart-7", None, ("tee", "mug"))
    assert parse_reservation(0, row.random_part, row.packed) == shipped
    assert (row.created_ms, row.ended_ms, row.deadline_ms) == (
        shipped.created_ms,
        shipped.ended_ms,
        shipped.deadline_ms,
    )
    (request,) = batch.requests.values()
    assert (request.target, request.operation, request.fingerprint) == (row.random_part, "reserve", "f1")
    assert (request.epoch, request.seq) == (held.reservation.epoch, held.reservation.seq)


async def test_batch_keeps_sources_pauses_and_records(idle: Gateway) -> None:
    """Each source's newest word, each sku's newest pause, and each record are one row."""
    await idle.put("tee", 10, source="erp", sequence=1)
    await idle.put("tee", 11, source="erp", sequence=2, deduction=1)
    await idle.put("tee", deduction=4, source="wms", sequence=9)
    await idle.adjust("tee", -1, "k")
    await idle.pause("tee", "recall")
    await idle.pause("tee", "damaged")
    batch = await build_batch(0, 1, GENESIS, await read_entries(idle.shard, 0, GENESIS, 1000))
    told = {key[3]: (row.sequence, row.deduction) for key, row in batch.sources.items()}
    assert told == {"erp": (2, 1), "wms": (9, 4)}
    (pause,) = batch.skus.values()
    assert (pause.paused, pause.reason, pause.seq) == (True, "damaged", batch.last_seq)
    (record,) = batch.requests.values()
    assert (record.operation, record.target) == ("adjust", "")
    assert batch.levels["main", "tee", "main"].deducted == 5


async def test_batch_names_what_is_to_be_settled(idle: Gateway) -> None:
    """Skus without a held unit, reservations that are no holds any more, and records without one; a live hold and its sku are not."""
    await idle.put("tee", 10)
    await idle.put("mug", 10)
    await idle.put("hat", 10)
    await idle.pause("hat")
    sold = await idle.confirm(await idle.reserve(("mug", 1), key="sold"))
    await idle.reserve(("tee", 1), key="held")
    await idle.adjust("tee", 1, "fix")
    batch = await build_batch(0, 1, GENESIS, await read_entries(idle.shard, 0, GENESIS, 1000))
    names = touched(batch)
    (fix,) = [record for record, row in batch.requests.items() if row.operation == "adjust"]
    assert sorted(names) == sorted(["s:main/mug", "s:main/hat", f"r:{sold.reservation.id.random_part}", f"q:{fix}"])


async def test_batch_of_an_entry_with_several_events_keeps_them_together() -> None:
    """The events of one call keep their own seqs and lines, and share the digest and the end of their entry."""
    payload = "E\t1\t1\tshard.opened\t5\t\tgateway\t\tcreated\t\nE\t2\t1\tstock.adjusted\t6\tmain\tkey:a\t\tbroken\tr-1"
    entry = Entry(2, payload, chain(GENESIS, payload), parse_events(payload))
    batch = await build_batch(0, 1, GENESIS, [entry])
    assert [(event.seq, event.entry_seq, event.digest) for event in batch.events] == [
        (1, 2, entry.digest),
        (2, 2, entry.digest),
    ]
    assert "\n".join(event.payload for event in batch.events) == payload
