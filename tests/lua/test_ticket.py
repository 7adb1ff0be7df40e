"""ticket: who may load an item from the durable store, for a moment."""

from __future__ import annotations

from tests.lua.warehouse import Warehouse

NAME = "s:main/A"


async def test_ticket_is_taken_by_one(warehouse: Warehouse) -> None:
    """TAKEN for the first who asks, HELD for everybody else; it has a life and holds the token."""
    key = warehouse.keys.ticket(NAME)

    first = await warehouse.run(warehouse.ticket(NAME, "one", 5000))
    second = await warehouse.run(warehouse.ticket(NAME, "two", 90_000))
    other = await warehouse.run(warehouse.ticket("r:x", "two"))

    assert (first.status, second.status, other.status) == ("TAKEN", "HELD", "TAKEN")
    assert await warehouse.call("GET", key) == "one"
    assert 0 < int(await warehouse.call("PTTL", key)) <= 5000
    await warehouse.call("DEL", key, warehouse.keys.ticket("r:x"))


async def test_ticket_sent_again_is_still_the_callers(warehouse: Warehouse) -> None:
    """Who did not hear that he has it, and asks again, has it; its life is not prolonged by that."""
    key = warehouse.keys.ticket(NAME)
    await warehouse.run(warehouse.ticket(NAME, "one", 5000))

    again = await warehouse.run(warehouse.ticket(NAME, "one", 90_000))

    assert again.status == "TAKEN"
    assert 0 < int(await warehouse.call("PTTL", key)) <= 5000
    await warehouse.call("DEL", key)


async def test_ticket_that_ended_can_be_taken(warehouse: Warehouse) -> None:
    """A ticket whose life is over, or whose load is done, is free."""
    await warehouse.run(warehouse.ticket(NAME, "one"))
    await warehouse.call("DEL", warehouse.keys.ticket(NAME))

    assert (await warehouse.run(warehouse.ticket(NAME, "two"))).status == "TAKEN"
    await warehouse.call("DEL", warehouse.keys.ticket(NAME))
