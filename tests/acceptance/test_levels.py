"""Levels: what PUT writes, what it refuses as too old, and what reading shows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.answers import check_level, check_stock
from tests.acceptance.client import Client


async def test_first_write_creates_the_level(api: Client) -> None:
    """200 with the level's own fields, `sku`, `shop` and `applied` beside them."""
    answer = await api.put_level("A", source="erp", sequence=1007, on_hand=50)

    level = answer.body
    check_level(level)
    assert answer.status == 200
    assert (level["sku"], level["shop"], level["location"], level["applied"]) == ("A", api.shop, "main", True)
    assert (level["on_hand"], level["held"], level["committed"], level["available"]) == (50, 0, 0, 50)
    assert (level["deductions"], level["safety_stock"], level["sequences"]) == ({}, 0, {"erp": 1007})
    beside = {"sku", "shop", "applied", "durable"}
    assert {k: v for k, v in level.items() if k not in beside} == {
        k: v for k, v in (await api.level("A")).items() if k not in beside
    }


async def test_first_write_without_on_hand_starts_at_zero(api: Client) -> None:
    """Only a safety stock is told: there are 0 units."""
    answer = await api.put_level("A", source="erp", sequence=1, safety_stock=2)

    assert (answer.body["on_hand"], answer.body["available"]) == (0, -2)


async def test_write_of_one_field_leaves_the_others(api: Client) -> None:
    """Any of on_hand, deduction and safety_stock: what is not named stays."""
    await api.put_level("A", source="erp", sequence=1, on_hand=50, safety_stock=5)

    await api.put_level("A", source="wms", sequence=77, deduction=1)
    await api.put_level("A", source="erp", sequence=2, safety_stock=6)
    level = (await api.put_level("A", source="erp", sequence=3, on_hand=40)).body

    assert (level["on_hand"], level["safety_stock"], level["deductions"]) == (40, 6, {"wms": 1})
    assert level["sequences"] == {"erp": 3, "wms": 77}
    assert level["available"] == 33


async def test_each_source_has_its_own_deduction(api: Client) -> None:
    """Two sources subtract, each its own; one that takes its deduction back leaves the other's."""
    await api.put_level("A", source="erp", sequence=1, on_hand=50)
    await api.put_level("A", source="wms", sequence=1, deduction=3)
    both = (await api.put_level("A", source="pos", sequence=1, deduction=4)).body

    one = (await api.put_level("A", source="wms", sequence=2, deduction=0)).body

    assert (both["deductions"], both["available"]) == ({"wms": 3, "pos": 4}, 43)
    assert (one["deductions"].get("wms", 0), one["deductions"]["pos"], one["available"]) == (0, 4, 46)


@pytest.mark.parametrize("sequence", [1, 9])
async def test_lower_sequence_is_stale(api: Client, sequence: int) -> None:
    """409 with the stored sequence; nothing changed."""
    await api.put_level("A", source="erp", sequence=10, on_hand=50)
    before = await api.level("A")

    answer = await api.put_level("A", source="erp", sequence=sequence, on_hand=1)

    assert answer.outcome == (409, "stale_sequence")
    assert answer.body["current_sequence"] == 10
    assert await api.level("A") == before


async def test_same_sequence_with_the_same_content_is_a_repetition(api: Client) -> None:
    """200 with `applied: false`: a retry after a lost answer changes nothing, not even the version."""
    await api.put_level("A", source="erp", sequence=10, on_hand=50, safety_stock=1)
    before = await api.level("A")

    again = await api.call(
        "PUT",
        "/v1/stock/A/main",
        raw=b'{"safety_stock": 1, "on_hand": 50, "sequence": 10, "source": "erp"}',
    )

    assert (again.status, again.body["applied"]) == (200, False)
    assert again.body["version"] == before["version"]
    assert await api.level("A") == before


async def test_repetition_after_other_changes_is_still_a_repetition(api: Client) -> None:
    """Holds, other sources and adjusts in between do not make an old write new; the level stays as they left it."""
    await api.put_level("A", source="erp", sequence=10, on_hand=50)
    await api.hold("A", 3)
    await api.adjust("A", -7, "k")
    await api.put_level("A", source="wms", sequence=1, deduction=2)
    before = await api.level("A")

    again = await api.put_level("A", source="erp", sequence=10, on_hand=50)

    assert (again.status, again.body["applied"], again.body["on_hand"]) == (200, False, 43)
    assert await api.level("A") == before


@pytest.mark.parametrize("other", [{"on_hand": 51}, {"on_hand": 50, "safety_stock": 0}, {"deduction": 50}])
async def test_same_sequence_with_other_content_is_stale(api: Client, other: dict[str, Any]) -> None:
    """Not greater than the stored one: 409, nothing changed."""
    await api.put_level("A", source="erp", sequence=10, on_hand=50)
    before = await api.level("A")

    answer = await api.put_level("A", source="erp", sequence=10, **other)

    assert answer.outcome == (409, "stale_sequence")
    assert answer.body["current_sequence"] == 10
    assert await api.level("A") == before


async def test_sequences_are_of_one_level_and_one_source(api: Client) -> None:
    """The same number from another source, at another location, of another sku is new."""
    await api.put_level("A", source="erp", sequence=10, on_hand=50)

    answers = [
        await api.put_level("A", source="wms", sequence=1, on_hand=40),
        await api.put_level("A", "berlin", source="erp", sequence=1, on_hand=30),
        await api.put_level("B", source="erp", sequence=1, on_hand=20),
    ]

    assert [(answer.status, answer.body["applied"]) for answer in answers] == [(200, True)] * 3
    assert [level["on_hand"] for level in (await api.stock("A"))["locations"]] == [30, 40]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"sequence": 1, "on_hand": 1}, "source"),
        ({"source": "erp", "on_hand": 1}, "sequence"),
        ({"source": "erp", "sequence": 0, "on_hand": 1}, "sequence"),
        ({"source": "erp", "sequence": 1, "on_hand": 1, "available": 5}, "available"),
        ({"source": "erp", "sequence": 1, "on_hand": 1, "held": 0}, "held"),
        ({"source": "erp", "sequence": 1, "on_hand": 1, "deductions": {"erp": 1}}, "deductions"),
    ],
)
async def test_write_with_a_wrong_field_creates_nothing(api: Client, body: dict[str, Any], field: str) -> None:
    """422 names the field; held, available and the like are not a client's to write."""
    answer = await api.call("PUT", "/v1/stock/A/main", body)

    assert (answer.outcome, answer.fields) == ((422, "invalid_request"), [field])
    assert (await api.get("/v1/stock/A")).outcome == (404, "sku_not_found")


async def test_version_and_position_move_with_every_change(api: Client) -> None:
    """Each change of a level raises its version and moves its position."""
    seen = [await api.stock_up("A", 9)]
    held = await api.hold("A", 2)
    seen.append(await api.level("A"))
    await api.done("confirm", held["id"])
    seen.append(await api.level("A"))
    await api.done("fulfil", held["id"])
    seen.append(await api.level("A"))
    await api.adjust("A", 1, "k")
    seen.append(await api.level("A"))

    versions = [level["version"] for level in seen]
    positions = [tuple(map(int, level["position"].split("-"))) for level in seen]
    assert versions == sorted(set(versions))
    assert positions == sorted(set(positions))


async def test_if_match_of_the_current_version_is_applied(api: Client) -> None:
    """A writer that has seen the newest version may write, by PUT and by adjust."""
    level = await api.stock_up("A", 9)

    put = await api.put_level("A", source="erp", sequence=1, on_hand=8, headers={"If-Match": str(level["version"])})
    adjusted = await api.adjust("A", -1, "k", headers={"If-Match": str(put.body["version"])})

    assert (put.status, adjusted.status, adjusted.body["on_hand"]) == (200, 200, 7)


async def test_if_match_of_another_version_is_a_conflict(api: Client) -> None:
    """409 `version_conflict`, nothing changed, and the sequence and the key are not used up."""
    level = await api.stock_up("A", 9)
    old = {"If-Match": str(level["version"])}
    await api.hold("A")
    before = await api.level("A")

    put = await api.put_level("A", source="erp", sequence=1, on_hand=8, headers=old)
    adjusted = await api.adjust("A", -1, "k", headers=old)

    assert put.outcome == adjusted.outcome == (409, "version_conflict")
    assert await api.level("A") == before
    assert (await api.put_level("A", source="erp", sequence=1, on_hand=8)).body["applied"] is True
    assert (await api.adjust("A", -1, "k")).is_replayed is False


async def test_if_match_on_a_level_that_does_not_exist_creates_none(api: Client) -> None:
    """There is no version to match."""
    answer = await api.put_level("A", source="erp", sequence=1, on_hand=8, headers={"If-Match": "1"})

    assert 400 <= answer.status < 500
    assert (await api.get("/v1/stock/A")).outcome == (404, "sku_not_found")


async def test_adjust_replayed_under_if_match_is_a_replay(api: Client) -> None:
    """A retry after a lost answer carries the version of the first try: it is recognised by its key."""
    level = await api.stock_up("A", 9)
    headers = {"If-Match": str(level["version"])}
    await api.adjust("A", -1, "k", headers=headers)

    again = await api.adjust("A", -1, "k", headers=headers)

    assert (again.status, again.is_replayed, again.body["on_hand"]) == (200, True, 8)


@pytest.mark.parametrize("value", ["x", "1.5", "-1", ""])
async def test_if_match_that_is_no_version_is_refused(api: Client, value: str) -> None:
    """422 or, for an empty one, as if it was not there; never applied by accident when it is nonsense."""
    await api.stock_up("A", 9)

    answer = await api.adjust("A", -1, "k", headers={"If-Match": value})

    if value:
        assert answer.outcome == (422, "invalid_request")
        assert await api.counters("A") == (9, 0, 0, 9)
    else:
        assert answer.status in {200, 422}


async def test_stock_of_several_locations_is_shown_with_totals(api: Client) -> None:
    """Each level, and the sums over them."""
    await api.stock_up("A", 5, "berlin", safety_stock=1)
    await api.stock_up("A", 7, "paris", deduction=2)
    await api.reserve(("A", 3, "paris"))
    held = (await api.reserve(("A", 2, "berlin"))).body
    await api.done("confirm", held["id"])

    stock = await api.stock("A")

    assert (stock["sku"], stock["shop"], stock["paused"]) == ("A", api.shop, False)
    assert (stock["on_hand"], stock["held"], stock["committed"], stock["available"]) == (12, 3, 2, 4)
    assert [(level["location"], level["available"]) for level in stock["locations"]] == [("berlin", 2), ("paris", 2)]


async def test_stock_of_an_unknown_sku_is_not_found(api: Client) -> None:
    """404 `sku_not_found` for reading, pausing, resuming and adjusting."""
    answers = [
        await api.get("/v1/stock/X"),
        await api.post("/v1/stock/X/pause"),
        await api.post("/v1/stock/X/resume"),
        await api.adjust("X", 1, "k"),
    ]

    assert [answer.outcome for answer in answers] == [(404, "sku_not_found")] * 4


async def test_oversold_level_is_shown_as_it_is(api: Client) -> None:
    """A source lowered on_hand below what is promised: negative, not clamped, in the level and in the total."""
    await api.stock_up("A", 5, "berlin")
    await api.stock_up("A", 3, "paris")
    await api.reserve(("A", 5, "berlin"))
    await api.stock_up("A", 1, "berlin")

    stock = await api.stock("A")

    assert [level["available"] for level in stock["locations"]] == [-4, 3]
    assert stock["available"] == -1


async def test_negative_safety_stock_sells_what_is_not_there_yet(api: Client) -> None:
    """A backorder allowance of 5: five can be reserved and confirmed of nothing, a sixth cannot."""
    await api.stock_up("A", 0, safety_stock=-5)

    held = await api.hold("A", 5)
    refused = await api.reserve(("A", 1))
    await api.done("confirm", held["id"])

    assert refused.outcome == (409, "out_of_stock")
    assert await api.counters("A") == (0, 0, 5, 0)


async def test_query_answers_many_skus_at_once(api: Client) -> None:
    """What is known as GET would show it, what is not by name."""
    for units, sku in enumerate("ABC", 1):
        await api.stock_up(sku, units)

    answer = await api.post("/v1/stock/query", {"skus": ["C", "X", "A", "Y"]})

    for stock in answer.body["stock"]:
        check_stock(stock)
    assert answer.status == 200
    assert {stock["sku"]: stock["on_hand"] for stock in answer.body["stock"]} == {"C": 3, "A": 1}
    assert sorted(answer.body["not_found"]) == ["X", "Y"]
    singles = {sku: await api.stock(sku) for sku in "AC"}
    assert {s["sku"]: s["locations"] for s in answer.body["stock"]} == {k: v["locations"] for k, v in singles.items()}


async def test_query_takes_1_to_1000_skus(api: Client) -> None:
    """1000 are answered, 0 and 1001 are refused."""
    skus = [f"S{number}" for number in range(1000)]

    full = await api.post("/v1/stock/query", {"skus": skus})
    refused = [await api.post("/v1/stock/query", {"skus": some}) for some in ([], [*skus, "T"])]

    assert (full.status, full.body["stock"], len(full.body["not_found"])) == (200, [], 1000)
    assert [answer.outcome for answer in refused] == [(422, "invalid_request")] * 2


async def test_write_is_seen_by_the_next_read(api: Client) -> None:
    """Reading stands in the same order as writing: no cache, even with ack=memory."""
    for units in range(1, 21):
        await api.put_level("A", source="erp", sequence=units, on_hand=units, ack="memory")
        assert (await api.stock("A"))["on_hand"] == units
