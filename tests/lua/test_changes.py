"""changes: confirms, fulfils and releases of several callers in one call, each judged as by its own."""

from __future__ import annotations

from tests.lua.warehouse import Call, Warehouse, wish


async def changes(warehouse: Warehouse, *calls: Call) -> list[list[str]]:
    """The results of the callers, each from its status on."""
    answer = await warehouse.run(warehouse.as_changes(*calls))
    assert answer.status == "CHANGES"
    return answer.nested()


async def test_changes_are_one_entry_and_each_has_its_own_answer(warehouse: Warehouse) -> None:
    """Confirmed, shipped, given back, refused: each caller gets what its own call would have answered."""
    await warehouse.stock("A", 9)
    held, other = await warehouse.hold(wish("A", 1)), await warehouse.hold(wish("A", 2))
    sold, early = await warehouse.sell(wish("A", 1)), await warehouse.hold(wish("A", 1))
    entries = len(await warehouse.content(warehouse.keys.log))

    results = await changes(
        warehouse,
        warehouse.confirm(held),
        warehouse.release(other),
        warehouse.fulfil(sold),
        warehouse.fulfil(early),
    )

    assert [result[0] for result in results] == ["CONFIRMED", "RELEASED", "FULFILLED", "STATE"]
    assert [result[1] for result in results] == [r.id.random_part for r in (held, other, sold, early)]
    assert len(await warehouse.content(warehouse.keys.log)) == entries + 1
    assert await warehouse.counters("A") == (8, 1, 1)


async def test_changes_of_what_is_not_loaded_or_not_known_stop_nobody_else(warehouse: Warehouse) -> None:
    """NOT_LOADED for the caller whose reservation is not in Redis alone."""
    await warehouse.stock("A", 9)
    held, gone = await warehouse.hold(wish("A", 1)), await warehouse.hold(wish("A", 1))
    await warehouse.remember()
    text = await warehouse.call("GET", warehouse.keys.reservation(gone.id.random_part))
    await warehouse.call("DEL", warehouse.keys.reservation(gone.id.random_part))

    results = await changes(warehouse, warehouse.release(gone), warehouse.confirm(held))

    await warehouse.call("SET", warehouse.keys.reservation(gone.id.random_part), text)
    assert results[0] == ["NOT_LOADED", f"r:{gone.id.random_part}"]
    assert results[1][0] == "CONFIRMED"


async def test_changes_sent_again_have_one_effect(warehouse: Warehouse) -> None:
    """The same call again, as after a lost answer: every change is recognised by the state it led to."""
    await warehouse.stock("A", 9)
    held, other, sold = (
        await warehouse.hold(wish("A", 1)),
        await warehouse.hold(wish("A", 1)),
        await warehouse.sell(wish("A", 1)),
    )
    call = warehouse.as_changes(warehouse.confirm(held), warehouse.release(other), warehouse.fulfil(sold))
    first = await warehouse.run(call)
    before = await warehouse.snapshot()

    second = await warehouse.run(call)

    assert second.nested() == first.nested()
    assert await warehouse.snapshot() == before


async def test_changes_past_a_deadline_are_refused_alone(warehouse: Warehouse) -> None:
    """A hold that is due is not confirmed, whoever asks beside it; its units are back."""
    await warehouse.stock("A", 2)
    due, alive = await warehouse.hold(wish("A", 1), ttl_ms=5), await warehouse.hold(wish("A", 1))
    await warehouse.advance(5)

    results = await changes(warehouse, warehouse.confirm(due), warehouse.confirm(alive))

    assert [result[0] for result in results] == ["STATE", "CONFIRMED"]
    assert await warehouse.counters("A") == (2, 0, 1)
