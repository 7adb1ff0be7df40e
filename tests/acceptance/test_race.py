"""500 buyers, 50 units: exactly 50 get one, however they ask."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from tests.acceptance.answers import Answer
from tests.acceptance.client import Client

BUYERS, UNITS, REPETITIONS = 500, 50, 3


def line(sku: str) -> dict[str, Any]:
    """One unit."""
    return {"sku": sku, "quantity": 1}


@pytest.mark.parametrize("turn", range(REPETITIONS))
async def test_race_of_single_lines_sells_every_unit_once(api: Client, turn: int) -> None:
    """500 at once: 50 times 201, 450 times 409, nothing else, and the level says so."""
    await api.stock_up("A", UNITS)

    answers: list[Answer] = await asyncio.gather(
        *[api.reserve(line("A"), reference=f"{turn}-{buyer}") for buyer in range(BUYERS)]
    )

    assert Counter(answer.status for answer in answers) == {201: UNITS, 409: BUYERS - UNITS}
    assert len({answer.body["id"] for answer in answers if answer.status == 201}) == UNITS
    assert await api.counters("A") == (UNITS, UNITS, 0, 0)


@pytest.mark.parametrize("turn", range(REPETITIONS))
async def test_race_of_multi_lines_holds_no_half_order(api: Client, turn: int) -> None:
    """Orders of A and B, in both orders of lines; B is the scarce one: 50 win, A has exactly their units held."""
    await api.stock_up("A", BUYERS)
    await api.stock_up("B", UNITS)

    answers = await asyncio.gather(
        *[
            api.reserve(*[line(sku) for sku in ("AB" if (buyer + turn) % 2 else "BA")], key=f"{turn}-{buyer}")
            for buyer in range(BUYERS)
        ]
    )

    assert Counter(answer.status for answer in answers) == {201: UNITS, 409: BUYERS - UNITS}
    assert await api.counters("A") == (BUYERS, UNITS, 0, BUYERS - UNITS)
    assert await api.counters("B") == (UNITS, UNITS, 0, 0)


@pytest.mark.parametrize("seed", range(REPETITIONS))
async def test_race_of_singles_multi_lines_and_batches_sells_every_unit_once(api: Client, seed: int) -> None:
    """The same 500 buyers, mixed at random: single calls, orders of two skus, batches of ten, with and without keys."""
    print(f"seed {seed}")
    mix = random.Random(seed)
    await api.stock_up("A", UNITS)
    await api.stock_up("B", BUYERS)
    granted: list[dict[str, Any]] = []
    refused = 0

    async def alone(buyer: int) -> list[tuple[int, dict[str, Any]]]:
        key = f"k{buyer}" if mix.random() < 0.5 else None
        lines = [line("A"), line("B")] if mix.random() < 0.5 else [line("A")]
        answer = await api.reserve(*lines, key=key)
        return [(answer.status, answer.body)]

    async def together() -> list[tuple[int, dict[str, Any]]]:
        results = await api.batch(*[{"op": "reserve", "body": {"lines": [line("A")]}} for _ in range(10)])
        return [(result["status"], result["body"]) for result in results]

    calls = [alone(buyer) for buyer in range(300)] + [together() for _ in range(20)]
    mix.shuffle(calls)
    for results in await asyncio.gather(*calls):
        for status, body in results:
            assert status in {201, 409}
            granted += [body] if status == 201 else []
            refused += status == 409

    assert (len(granted), refused) == (UNITS, BUYERS - UNITS)
    assert await api.counters("A") == (UNITS, UNITS, 0, 0)
    assert (await api.stock("B"))["held"] == sum(len(body["lines"]) == 2 for body in granted)


@pytest.mark.parametrize("gateway", ["embedded"], indirect=True)
async def test_race_of_confirm_release_and_expiry_ends_each_hold_once(api: Client) -> None:
    """Each of 60 holds is confirmed, released and due at about the same time: one end each, and the sums agree."""
    await api.stock_up("A", 60)
    holds = [await api.hold("A", ttl_seconds=1) for _ in range(60)]

    async def at(seconds: float, operation: str, reservation_id: str) -> Answer:
        await asyncio.sleep(seconds)
        return await api.act(operation, reservation_id, ack="memory")

    mix = random.Random(1)
    calls = [
        at(0.75 + mix.random() * 0.3, operation, hold["id"]) for hold in holds for operation in ("confirm", "release")
    ]
    await asyncio.gather(*calls)
    ends = Counter([(await api.ended(hold["id"]))["state"] for hold in holds])

    assert set(ends) <= {"confirmed", "released", "expired"}
    assert await api.counters("A") == (60, 0, ends["confirmed"], 60 - ends["confirmed"])


async def test_race_of_writes_under_one_version_lets_one_through(api: Client) -> None:
    """Forty adjusts that all saw the same version: one is applied, the others are conflicts."""
    level = await api.stock_up("A", 100)
    headers = {"If-Match": str(level["version"])}

    answers = await asyncio.gather(*[api.adjust("A", 1, f"k{turn}", headers=headers) for turn in range(40)])

    assert Counter(answer.code for answer in answers) == {None: 1, "version_conflict": 39}
    assert (await api.stock("A"))["on_hand"] == 101


async def test_race_of_sequences_ends_with_the_highest(api: Client) -> None:
    """Sixty writes of a source arrive in any order: the newest content stands, the older ones were applied or stale."""
    turns = list(range(1, 61))
    random.Random(7).shuffle(turns)

    answers = await asyncio.gather(
        *[api.put_level("A", source="erp", sequence=turn, on_hand=turn * 10, ack="memory") for turn in turns]
    )

    assert {answer.outcome for answer in answers} <= {(200, None), (409, "stale_sequence")}
    level = await api.level("A")
    assert (level["on_hand"], level["sequences"]) == (600, {"erp": 60})
    assert level["version"] == sum(answer.status == 200 for answer in answers)


async def test_race_for_the_last_unit_of_two_skus_never_deadlocks(api: Client) -> None:
    """A+B against B+A with one unit each, fifty times: one order wins every time."""
    for turn in range(50):
        await api.stock_up(f"A{turn}", 1)
        await api.stock_up(f"B{turn}", 1)

    pairs = await asyncio.gather(
        *[
            api.reserve(line(f"{first}{turn}"), line(f"{second}{turn}"))
            for turn in range(50)
            for first, second in ("AB", "BA")
        ]
    )

    for turn in range(50):
        assert sorted(answer.status for answer in pairs[2 * turn : 2 * turn + 2]) == [201, 409]
