"""POST …/adjust, …/pause and …/resume."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.answers import check_level, check_stock, check_worth
from tests.acceptance.client import Client


async def test_adjust_moves_on_hand_by_its_delta(api: Client) -> None:
    """Up and down; the answer is the level."""
    await api.stock_up("A", 5)

    up = await api.adjust("A", 3, "up", reference="count-7")
    down = await api.adjust("A", -8, "down")

    check_level(down.body)
    check_worth(down.body)
    assert (up.status, up.body["on_hand"], up.body["sku"], up.body["durable"]) == (200, 8, "A", True)
    assert (down.status, down.body["on_hand"]) == (200, 0)


async def test_adjust_below_zero_is_insufficient(api: Client) -> None:
    """409 `insufficient_on_hand`, nothing changed."""
    await api.stock_up("A", 5)
    before = await api.level("A")

    answer = await api.adjust("A", -6, "k")

    assert answer.outcome == (409, "insufficient_on_hand")
    assert await api.level("A") == before


async def test_adjust_below_what_is_promised_is_shown(api: Client) -> None:
    """on_hand counts what is there: with 5 held of 5, one broken unit leaves -1 available."""
    await api.stock_up("A", 5)
    await api.hold("A", 5)

    answer = await api.adjust("A", -1, "k")

    assert answer.status == 200
    assert await api.counters("A") == (4, 5, 0, -1)


async def test_adjust_does_not_touch_sequences(api: Client) -> None:
    """A source's next number is judged against its own last one."""
    await api.put_level("A", source="erp", sequence=10, on_hand=5)

    adjusted = await api.adjust("A", 1, "k")
    late = await api.put_level("A", source="erp", sequence=9, on_hand=1)

    assert adjusted.body["sequences"] == {"erp": 10}
    assert late.outcome == (409, "stale_sequence")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"delta": 0, "reason": "count"}, "delta"),
        ({"reason": "count"}, "delta"),
        ({"delta": 1}, "reason"),
        ({"delta": "1", "reason": "count"}, "delta"),
        ({"delta": 1.0, "reason": "count"}, "delta"),
        ({"delta": True, "reason": "count"}, "delta"),
        ({"delta": 10**10, "reason": "count"}, "delta"),
        ({"delta": -(10**10), "reason": "count"}, "delta"),
        ({"delta": 2**64 + 1, "reason": "count"}, "delta"),
        ({"delta": 1, "reason": "count", "reference": " "}, "reference"),
        ({"delta": 1, "reason": "count", "on_hand": 5}, "on_hand"),
    ],
)
async def test_adjust_with_a_wrong_field_is_refused(api: Client, body: dict[str, Any], field: str) -> None:
    """422 names the field, nothing changed."""
    await api.stock_up("A", 5)

    answer = await api.post("/v1/stock/A/main/adjust", body, key="k")

    assert (answer.outcome, answer.fields) == ((422, "invalid_request"), [field])
    assert await api.counters("A") == (5, 0, 0, 5)


async def test_adjust_beyond_the_largest_on_hand_is_refused(api: Client) -> None:
    """on_hand stays within 0..1_000_000_000 whatever is added."""
    await api.stock_up("A", 1_000_000_000)

    answer = await api.adjust("A", 1, "k")

    assert answer.status in {409, 422}
    assert (await api.stock("A"))["on_hand"] == 1_000_000_000


async def test_adjust_frees_units_for_the_next_buyer(api: Client) -> None:
    """What an adjust adds can be reserved at once."""
    await api.stock_up("A", 0)

    await api.adjust("A", 1, "k")

    assert (await api.reserve(("A", 1))).status == 201


async def test_pause_stops_new_reservations_and_lets_open_ones_live(api: Client) -> None:
    """409 `paused` for a reserve; extend, confirm, fulfil and release go on."""
    await api.stock_up("A", 9)
    first, second = await api.hold("A"), await api.hold("A")

    paused = await api.post("/v1/stock/A/pause", {"reason": "recall"})
    refused = await api.reserve(("A", 1))

    check_stock(paused.body)
    assert (paused.status, paused.body["paused"], (await api.stock("A"))["paused"]) == (200, True, True)
    assert (refused.outcome, refused.body["shortages"][0]["reason"]) == ((409, "out_of_stock"), "paused")
    for operation in ("extend", "confirm", "fulfil"):
        assert (await api.act(operation, first["id"])).status == 200
    assert (await api.act("release", second["id"])).status == 200


async def test_resume_lets_the_sku_sell_again(api: Client) -> None:
    """200, and the next reserve is granted."""
    await api.stock_up("A", 9)
    await api.post("/v1/stock/A/pause")

    resumed = await api.post("/v1/stock/A/resume", {"reason": "checked"})

    assert (resumed.status, resumed.body["paused"]) == (200, False)
    assert (await api.reserve(("A", 1))).status == 201


async def test_pause_and_resume_may_be_repeated(api: Client) -> None:
    """A repeat after a lost answer is a 200 again."""
    await api.stock_up("A", 9)

    answers = [await api.post(f"/v1/stock/A/{word}") for word in ("resume", "pause", "pause", "resume", "resume")]

    assert [(answer.status, answer.body["paused"]) for answer in answers] == [
        (200, False),
        (200, True),
        (200, True),
        (200, False),
        (200, False),
    ]


async def test_pause_is_of_one_sku_of_one_shop_at_all_its_locations(api: Client) -> None:
    """The neighbour sku and the neighbour shop sell on; no location of the paused one does."""
    other = api.for_shop(f"{api.shop}-b")
    await api.stock_up("A", 9, "berlin")
    await api.stock_up("A", 9, "paris")
    await api.stock_up("B", 9)
    await other.stock_up("A", 9)

    await api.post("/v1/stock/A/pause")

    assert [(await api.reserve(("A", 1, place))).code for place in ("berlin", "paris")] == ["out_of_stock"] * 2
    assert (await api.reserve(("B", 1))).status == 201
    assert (await other.reserve(("A", 1))).status == 201


async def test_pause_leaves_writes_of_the_level_alone(api: Client) -> None:
    """Sources and counts go on; the sku stays paused."""
    await api.stock_up("A", 9)
    await api.post("/v1/stock/A/pause")

    await api.stock_up("A", 4)
    await api.adjust("A", 1, "k")

    stock = await api.stock("A")
    assert (stock["on_hand"], stock["paused"]) == (5, True)
