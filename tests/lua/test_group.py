"""group: reserves of several callers in one call, each judged as by its own."""

from __future__ import annotations

from gateway.domain.reservation import parse_reservation
from tests.lua.warehouse import Call, Warehouse, wish


async def group(warehouse: Warehouse, *calls: Call) -> list[list[str]]:
    """The results of the callers, each from its status on."""
    answer = await warehouse.run(warehouse.as_group(*calls))
    assert answer.status == "GROUP"
    return answer.nested()


async def test_group_is_one_entry_and_each_has_its_own_answer(warehouse: Warehouse) -> None:
    """Held, out of stock, unknown, replayed, reused: each caller gets what its own call would have answered."""
    await warehouse.stock("A", 3)
    await warehouse.create("X")
    known = await warehouse.hold(wish("A", 1), key="k1")
    entries = len(await warehouse.content(warehouse.keys.log))

    results = await group(
        warehouse,
        warehouse.reserve(wish("A", 1)),
        warehouse.reserve(wish("A", 2)),
        warehouse.reserve(wish("X", 1)),
        warehouse.reserve(wish("A", 1), key="k1"),
        warehouse.reserve(wish("A", 1), key="k1", fingerprint="f2"),
        warehouse.reserve(wish("A", 1)),
    )

    assert [result[0] for result in results] == [
        "RESERVED", "OUT_OF_STOCK", "UNKNOWN_SKU", "REPLAYED", "REUSED", "RESERVED",
    ]  # fmt: skip
    assert parse_reservation(0, results[3][1], results[3][2]) == known
    assert len(await warehouse.content(warehouse.keys.log)) == entries + 1
    assert await warehouse.counters("A") == (3, 3, 0)


async def test_group_in_the_order_given(warehouse: Warehouse) -> None:
    """The last units go to the first that asked."""
    await warehouse.stock("A", 50)

    results = await group(warehouse, *[warehouse.reserve(wish("A", 1)) for _ in range(60)])

    assert [result[0] for result in results] == ["RESERVED"] * 50 + ["OUT_OF_STOCK"] * 10


async def test_group_same_key_of_two_callers_is_one_effect(warehouse: Warehouse) -> None:
    """Two retries of one request that meet in a group hold once."""
    await warehouse.stock("A", 9)

    results = await group(
        warehouse, warehouse.reserve(wish("A", 2), key="k1"), warehouse.reserve(wish("A", 2), key="k1")
    )

    assert [result[0] for result in results] == ["RESERVED", "REPLAYED"]
    assert results[0][1] == results[1][1]
    assert await warehouse.counters("A") == (9, 2, 0)


async def test_group_who_lacks_something_stops_nobody_else(warehouse: Warehouse) -> None:
    """NOT_LOADED for the caller whose sku is cold alone, by every name it lacks; the others are served."""
    await warehouse.stock("A", 9)

    results = await group(
        warehouse,
        warehouse.reserve(wish("cold", 1), wish("A", 1), wish("cool", 1)),
        warehouse.reserve(wish("A", 2)),
        warehouse.reserve(wish("cold", 1)),
    )

    assert results[0] == ["NOT_LOADED", "s:main/cold", "s:main/cool"]
    assert results[1][0] == "RESERVED"
    assert results[2] == ["NOT_LOADED", "s:main/cold"]
    assert await warehouse.counters("A") == (9, 2, 0)


async def test_group_sent_again_has_one_effect(warehouse: Warehouse) -> None:
    """The same group again, as after a lost answer: every hold is recognised, keyed or not."""
    await warehouse.stock("A", 9)
    call = warehouse.as_group(warehouse.reserve(wish("A", 1)), warehouse.reserve(wish("A", 2), key="k1"))
    first = await warehouse.run(call)
    before = await warehouse.snapshot()

    second = await warehouse.run(call)

    assert [result[0] for result in first.nested()] == ["RESERVED", "RESERVED"]
    assert [result[:3] for result in second.nested()] == [
        ["RESERVED", *first.nested()[0][1:3]],
        ["REPLAYED", *first.nested()[1][1:3]],
    ]
    assert await warehouse.snapshot() == before


async def test_group_due_units_are_there_for_all(warehouse: Warehouse) -> None:
    """What is due of a sku comes back once, before the first of them is judged."""
    await warehouse.stock("A", 4)
    await warehouse.hold(wish("A", 4), ttl_ms=10)
    await warehouse.advance(10)

    results = await group(warehouse, warehouse.reserve(wish("A", 2)), warehouse.reserve(wish("A", 2)))

    assert [result[0] for result in results] == ["RESERVED", "RESERVED"]
    assert [event.type for event in (await warehouse.remember())[-3:]] == [
        "stock.expired",
        "stock.reserved",
        "stock.reserved",
    ]


async def test_group_more_due_than_one_call_takes_back(warehouse: Warehouse) -> None:
    """MORE_DUE for everyone who is judged after the bound was reached; a repeat serves them."""
    await warehouse.stock("A", 70)
    await warehouse.stock("B", 5)
    for _ in range(70):
        await warehouse.hold(wish("A", 1), ttl_ms=10)
    await warehouse.advance(10)
    calls = (warehouse.reserve(wish("B", 1)), warehouse.reserve(wish("A", 70)))

    first = await group(warehouse, *calls)
    second = await group(warehouse, *calls)

    assert [result[0] for result in first] == ["MORE_DUE", "MORE_DUE"]
    assert [result[0] for result in second] == ["RESERVED", "RESERVED"]


async def test_group_backlog_full_in_the_middle(warehouse: Warehouse) -> None:
    """The events of earlier callers count: who comes after the bound is told BACKLOG, a replay is served."""
    await warehouse.stock("A", 9)
    await warehouse.hold(wish("A", 1), key="k1")
    unflushed = (await warehouse.remember())[-1].seq
    call = warehouse.as_group(
        warehouse.reserve(wish("A", 1)), warehouse.reserve(wish("A", 1)), warehouse.reserve(wish("A", 1), key="k1")
    )

    reply = await warehouse.raw(call, backlog_max=unflushed + 1)

    assert [result[0] for result in reply[4:]] == ["RESERVED", "BACKLOG", "REPLAYED"]
