"""batch: several operations as one unit of work, in order, each seeing the earlier ones."""

from __future__ import annotations

from gateway.domain.reservation import parse_reservation
from gateway.hot.operations import parse_sku
from tests.lua.warehouse import Warehouse, wish


def statuses(results: list[list[str]]) -> list[str]:
    """The status of each result."""
    return [result[0] for result in results]


async def test_batch_is_one_entry_with_consecutive_events(warehouse: Warehouse) -> None:
    """Two holds and an adjustment are one log entry of three events."""
    await warehouse.stock("A", 5)
    before = len(await warehouse.content(warehouse.keys.log))
    seq = (await warehouse.remember())[-1].seq

    results = await warehouse.batch(
        warehouse.reserve(wish("A", 1)), warehouse.reserve(wish("A", 1)), warehouse.adjust("A", 1)
    )

    events = await warehouse.remember()
    assert statuses(results) == ["RESERVED", "RESERVED", "ADJUSTED"]
    assert len(await warehouse.content(warehouse.keys.log)) == before + 1
    assert [event.seq for event in events[-3:]] == [seq + 1, seq + 2, seq + 3]


async def test_batch_empty_writes_nothing(warehouse: Warehouse) -> None:
    """No operation, no entry."""
    before = await warehouse.snapshot()

    assert await warehouse.batch() == []
    assert await warehouse.snapshot() == before


async def test_batch_each_sees_the_earlier_ones(warehouse: Warehouse) -> None:
    """The last unit goes to the first; what an adjustment or a release frees is there for the next."""
    await warehouse.stock("A", 3)
    old = await warehouse.hold(wish("A", 1))

    results = await warehouse.batch(
        warehouse.reserve(wish("A", 2)),
        warehouse.reserve(wish("A", 1)),
        warehouse.release(old),
        warehouse.reserve(wish("A", 1)),
        warehouse.adjust("A", 4, key="k1"),
        warehouse.reserve(wish("A", 4)),
        warehouse.reserve(wish("A", 1)),
    )

    assert statuses(results) == [
        "RESERVED", "OUT_OF_STOCK", "RELEASED", "RESERVED", "ADJUSTED", "RESERVED", "OUT_OF_STOCK",
    ]  # fmt: skip
    assert await warehouse.counters("A") == (7, 7, 0)


async def test_batch_chain_on_one_reservation(warehouse: Warehouse) -> None:
    """Extend, confirm, fulfil, release of one reservation: each answers for the state the one before left."""
    await warehouse.stock("A", 3)
    r = await warehouse.hold(wish("A", 2))

    results = await warehouse.batch(
        warehouse.extend(r), warehouse.confirm(r), warehouse.extend(r), warehouse.fulfil(r), warehouse.release(r)
    )

    states = [parse_reservation(0, result[1], result[2]).state for result in results]
    assert statuses(results) == ["EXTENDED", "CONFIRMED", "STATE", "FULFILLED", "STATE"]
    assert states == ["held", "confirmed", "confirmed", "fulfilled", "fulfilled"]
    assert await warehouse.counters("A") == (1, 0, 0)


async def test_batch_one_failing_does_not_stop_the_rest(warehouse: Warehouse) -> None:
    """Refusals of every kind stand between two holds that both go through."""
    await warehouse.stock("A", 3)
    await warehouse.create("X")
    sold = await warehouse.sell(wish("A", 1))
    ghost = (await warehouse.hold(wish("A", 1))).id

    results = await warehouse.batch(
        warehouse.reserve(wish("A", 9)),
        warehouse.reserve(wish("X", 1)),
        warehouse.extend(sold),
        warehouse.adjust("A", -9),
        warehouse.adjust("X", 1),
        warehouse.release(sold, shop="other"),
        warehouse.reserve(wish("A", 1)),
    )

    assert statuses(results) == [
        "OUT_OF_STOCK", "UNKNOWN_SKU", "STATE", "INSUFFICIENT", "NO_LEVEL", "NOT_FOUND", "RESERVED",
    ]  # fmt: skip
    assert ghost


async def test_batch_same_key_twice_is_one_effect(warehouse: Warehouse) -> None:
    """The second under a key is a replay of the first, in reserve as in adjust; another body is told."""
    await warehouse.stock("A", 9)

    results = await warehouse.batch(
        warehouse.reserve(wish("A", 2), key="k1"),
        warehouse.reserve(wish("A", 2), key="k1"),
        warehouse.reserve(wish("A", 3), key="k1", fingerprint="f2"),
        warehouse.adjust("A", 1, key="k2"),
        warehouse.adjust("A", 1, key="k2"),
        warehouse.adjust("A", 2, key="k2", fingerprint="f2"),
    )

    assert statuses(results) == ["RESERVED", "REPLAYED", "REUSED", "ADJUSTED", "REPLAYED", "REUSED"]
    assert results[0][1] == results[1][1]
    assert await warehouse.counters("A") == (10, 2, 0)


async def test_batch_same_key_after_a_refusal_is_judged_afresh(warehouse: Warehouse) -> None:
    """A refused attempt is not remembered within a batch either."""
    await warehouse.stock("A", 1)

    results = await warehouse.batch(
        warehouse.reserve(wish("A", 2), key="k1"),
        warehouse.adjust("A", 1),
        warehouse.reserve(wish("A", 2), key="k1"),
    )

    assert statuses(results) == ["OUT_OF_STOCK", "ADJUSTED", "RESERVED"]


async def test_batch_sent_again_has_one_effect(warehouse: Warehouse) -> None:
    """The same batch again, as after a lost answer: keyed and unkeyed holds, adjustments and moves happen once."""
    await warehouse.stock("A", 9)
    r = await warehouse.hold(wish("A", 1))
    batch = warehouse.as_batch(
        warehouse.reserve(wish("A", 2), key="k1"),
        warehouse.reserve(wish("A", 3)),
        warehouse.adjust("A", 5, key="k2"),
        warehouse.confirm(r),
    )
    first = await warehouse.run(batch)
    before = await warehouse.snapshot()

    second = await warehouse.run(batch)

    assert statuses(first.fields) == ["RESERVED", "RESERVED", "ADJUSTED", "CONFIRMED"]  # type: ignore[arg-type]
    assert statuses(second.fields) == ["REPLAYED", "RESERVED", "REPLAYED", "CONFIRMED"]  # type: ignore[arg-type]
    assert await warehouse.snapshot() == before


async def test_batch_level_made_by_an_earlier_operation(warehouse: Warehouse) -> None:
    """A put that creates a level comes before the reserve that takes from it."""
    await warehouse.create("A")

    results = await warehouse.batch(
        warehouse.reserve(wish("A", 1)), warehouse.put("A", "hall", 4), warehouse.reserve(wish("A", 4, "hall"))
    )

    assert statuses(results) == ["UNKNOWN_SKU", "APPLIED", "RESERVED"]
    assert parse_sku(results[1][1]).levels["hall"].held == 0


async def test_batch_takes_back_what_is_due_once(warehouse: Warehouse) -> None:
    """A due hold met by several operations of the batch is one expiry."""
    await warehouse.stock("A", 3)
    r = await warehouse.hold(wish("A", 3), ttl_ms=10)
    await warehouse.advance(10)

    results = await warehouse.batch(
        warehouse.reserve(wish("A", 1)),
        warehouse.release(r),
        warehouse.confirm(r, reacquire=True),
        warehouse.reserve(wish("A", 2)),
    )

    expired = [event for event in await warehouse.remember() if event.type == "stock.expired"]
    assert statuses(results) == ["RESERVED", "RELEASED", "OUT_OF_STOCK", "RESERVED"]
    assert len(expired) == 1


async def test_batch_a_thousand_operations(warehouse: Warehouse) -> None:
    """The largest batch the contract allows: 500 holds and their 500 releases, one entry, books as before."""
    await warehouse.stock("A", 500)
    holds = [await warehouse.hold(wish("A", 1)) for _ in range(250)]
    calls = [warehouse.reserve(wish("A", 1)) for _ in range(250)]
    calls += [warehouse.release(r) for r in holds] + [warehouse.reserve(wish("A", 1)) for _ in range(500)]

    results = await warehouse.batch(*calls)

    assert statuses(results).count("RESERVED") == 500
    assert statuses(results).count("OUT_OF_STOCK") == 250
    assert await warehouse.counters("A") == (500, 500, 0)
