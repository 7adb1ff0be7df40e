"""pause: a sku is off sale, or back; what is open lives on."""

from __future__ import annotations

from gateway.domain.event import PAUSED, RESUMED
from gateway.hot.operations import parse_sku
from tests.lua.warehouse import Warehouse, wish


async def test_pause_and_resume_are_events(warehouse: Warehouse) -> None:
    """APPLIED both ways, with the reason while it is paused; levels and versions stay."""
    await warehouse.stock("A", 5)
    version = (await warehouse.level("A")).version

    paused = await warehouse.run(warehouse.pause("A", reason="recall"))
    resumed = await warehouse.run(warehouse.pause("A", False, reason="fine again"))

    off, on = parse_sku(paused.fields[0]), parse_sku(resumed.fields[0])
    events = (await warehouse.remember())[-2:]
    assert (paused.status, off.paused, off.reason) == ("APPLIED", True, "recall")
    assert (resumed.status, on.paused, on.reason) == ("APPLIED", False, "")
    assert [(event.type, event.reason) for event in events] == [(PAUSED, "recall"), (RESUMED, "fine again")]
    assert (off.epoch, off.seq) == (1, events[0].seq)
    assert (await warehouse.level("A")).version == version
    await warehouse.hold(wish("A", 5))


async def test_pause_again_is_unchanged(warehouse: Warehouse) -> None:
    """UNCHANGED when it is so already; another reason is a change, resuming what runs is none."""
    await warehouse.stock("A", 5)

    statuses = [
        (await warehouse.run(call)).status
        for call in (
            warehouse.pause("A", False),
            warehouse.pause("A", reason="x"),
            warehouse.pause("A", reason="x"),
            warehouse.pause("A", reason="y"),
            warehouse.pause("A", False),
            warehouse.pause("A", False, reason="z"),
        )
    ]

    assert statuses == ["UNCHANGED", "APPLIED", "UNCHANGED", "APPLIED", "APPLIED", "UNCHANGED"]


async def test_pause_of_a_sku_without_levels(warehouse: Warehouse) -> None:
    """NO_LEVEL, and nothing changes."""
    await warehouse.create("A")
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.pause("A"))

    assert (answer.status, answer.fields) == ("NO_LEVEL", [])
    assert await warehouse.snapshot() == before


async def test_pause_lets_holds_expire_be_extended_and_confirmed(warehouse: Warehouse) -> None:
    """Open holds of a paused sku live on as if nothing were."""
    await warehouse.stock("A", 5)
    first, second = await warehouse.hold(wish("A", 1), ttl_ms=10), await warehouse.hold(wish("A", 2))
    await warehouse.run(warehouse.pause("A"))

    extended = await warehouse.run(warehouse.extend(second))
    confirmed = await warehouse.run(warehouse.confirm(second))
    await warehouse.advance(10)
    swept = await warehouse.run(warehouse.expire())

    assert (extended.status, confirmed.status, swept.fields[0]) == ("EXTENDED", "CONFIRMED", "1")
    assert (await warehouse.sku("A")).paused
    assert first.id != second.id
