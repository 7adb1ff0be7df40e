"""adjust: on_hand moves by a difference, once per key."""

from __future__ import annotations

import pytest

from gateway.domain.event import ADJUSTED
from gateway.hot.operations import parse_sku
from tests.lua.warehouse import Warehouse, wish

MOST = 1_000_000_000


async def test_adjust_moves_on_hand(warehouse: Warehouse) -> None:
    """ADJUSTED: on_hand by the delta, one event with the reason, the level in the answer."""
    await warehouse.stock("A", 5)

    answer = await warehouse.run(warehouse.adjust("A", 3, reason="return"))

    event = (await warehouse.remember())[-1]
    assert answer.status == "ADJUSTED"
    assert parse_sku(answer.fields[0]).levels["main"].on_hand == 8
    assert (event.type, event.reason) == (ADJUSTED, "return")


async def test_adjust_same_key_moves_once(warehouse: Warehouse) -> None:
    """A repeat is REPLAYED with the level as it is now; another body under the key is REUSED; nothing changes."""
    await warehouse.stock("A", 5)
    await warehouse.run(warehouse.adjust("A", 3, key="k1"))
    await warehouse.run(warehouse.adjust("A", 1, key="k2"))
    before = await warehouse.snapshot()

    again = await warehouse.run(warehouse.adjust("A", 3, key="k1"))
    other = await warehouse.run(warehouse.adjust("A", 4, key="k1", fingerprint="f2"))

    assert (again.status, parse_sku(again.fields[0]).levels["main"].on_hand) == ("REPLAYED", 9)
    assert (other.status, other.fields) == ("REUSED", [])
    assert await warehouse.snapshot() == before


@pytest.mark.parametrize(
    ("on_hand", "delta", "status", "fields"),
    [
        (5, -5, "ADJUSTED", None),
        (5, -6, "INSUFFICIENT", ["5"]),
        (0, -1, "INSUFFICIENT", ["0"]),
        (MOST - 1, 1, "ADJUSTED", None),
        (MOST - 1, 2, "TOO_LARGE", [str(MOST - 1)]),
        (MOST, -MOST, "ADJUSTED", None),
    ],
)
async def test_adjust_bounds(
    warehouse: Warehouse, on_hand: int, delta: int, status: str, fields: list[str] | None
) -> None:
    """on_hand stays within 0 and 10^9; a refusal tells it, is not remembered, and changes nothing."""
    await warehouse.stock("A", on_hand)
    before = await warehouse.snapshot()

    answer = await warehouse.run(warehouse.adjust("A", delta, key="k1"))

    assert answer.status == status
    if fields is not None:
        assert answer.fields == fields
        assert await warehouse.snapshot() == before
        assert (
            await warehouse.run(warehouse.adjust("A", 0 - on_hand, key="k1", fingerprint="f2"))
        ).status == "ADJUSTED"


async def test_adjust_may_take_units_that_are_promised(warehouse: Warehouse) -> None:
    """Units can be found missing although they are held or sold: available falls below zero, and shows it."""
    await warehouse.stock("A", 5)
    await warehouse.hold(wish("A", 5))

    await warehouse.run(warehouse.adjust("A", -5, reason="damaged"))

    level = await warehouse.level("A")
    assert (level.on_hand, level.held, level.available) == (0, 5, -5)


async def test_adjust_upwards_out_of_a_debt(warehouse: Warehouse) -> None:
    """A level below zero takes returns, although it stays below; it takes nothing more out."""
    await warehouse.stock("A", 5, safety_stock=-5)
    r = await warehouse.hold(wish("A", 10))
    await warehouse.run(warehouse.confirm(r, fulfil=True))

    up = await warehouse.run(warehouse.adjust("A", 2))
    down = await warehouse.run(warehouse.adjust("A", -1))

    assert (up.status, down.status, down.fields) == ("ADJUSTED", "INSUFFICIENT", ["-3"])


async def test_adjust_without_level(warehouse: Warehouse) -> None:
    """NO_LEVEL where the sku has none at the location; nothing is created."""
    await warehouse.stock("A", 5)
    await warehouse.create("B")
    before = await warehouse.snapshot()

    statuses = [
        (await warehouse.run(call)).status for call in (warehouse.adjust("A", 1, "hall"), warehouse.adjust("B", 1))
    ]

    assert statuses == ["NO_LEVEL", "NO_LEVEL"]
    assert await warehouse.snapshot() == before


async def test_adjust_if_match(warehouse: Warehouse) -> None:
    """CONFLICT with the version there is; a replay is one whatever version it names."""
    await warehouse.stock("A", 5)

    wrong = await warehouse.run(warehouse.adjust("A", 1, if_match=2))
    right = await warehouse.run(warehouse.adjust("A", 1, key="k1", if_match=1))
    again = await warehouse.run(warehouse.adjust("A", 1, key="k1", if_match=1))

    assert (wrong.status, wrong.fields) == ("CONFLICT", ["1"])
    assert (right.status, again.status) == ("ADJUSTED", "REPLAYED")


async def test_adjust_replay_comes_before_the_bounds(warehouse: Warehouse) -> None:
    """A retry is answered although the delta would not fit any more, and the backlog is full."""
    await warehouse.stock("A", 5)
    await warehouse.run(warehouse.adjust("A", -5, key="k1"))

    reply = await warehouse.raw(warehouse.adjust("A", -5, key="k1"), backlog_max=0)

    assert reply[1] == "REPLAYED"
