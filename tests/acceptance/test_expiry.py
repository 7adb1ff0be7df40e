"""A deadline is exact: a unit is free for another buyer from that instant, and never before."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest

from tests.acceptance.answers import instant_ms
from tests.acceptance.client import Client

POLL_SECONDS = 0.01
SECONDS_MAX = 30
HOLDS = 8
CONFIRMS = 40


async def won(api: Client, sku: str, expires_at: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Tries to reserve the sku until it is granted; the reservation and every shortage until then.

    None of the shortages was told at or after the deadline of the hold before, by Redis' clock as a reserve beside shows it.
    """
    refused: list[dict[str, Any]] = []
    end = time.monotonic() + SECONDS_MAX
    while True:
        before = await clock_ms(api)
        answer = await api.reserve((sku, 1))
        if answer.status == 201:
            return answer.body, refused
        assert answer.outcome == (409, "out_of_stock")
        assert before < instant_ms(expires_at), f"refused {before - instant_ms(expires_at)} ms after the deadline"
        assert time.monotonic() < end
        refused.append(answer.body["shortages"][0])
        await asyncio.sleep(POLL_SECONDS)


async def clock_ms(api: Client) -> int:
    """Now by Redis' clock: the instant of a reserve of the sku `clock`."""
    return instant_ms((await api.hold("clock"))["created_at"])


async def test_unit_is_free_at_the_deadline_and_never_before(api: Client) -> None:
    """Eight last units, eight deadlines: each second buyer is refused until the deadline, and from it on no more.

    The first refusal of each comes with the hold, so that also a machine that stands still sees one.
    """
    one: dict[str, Any] = {"op": "reserve", "body": {"lines": [{"sku": "", "quantity": 1}], "ttl_seconds": 1}}
    first, told = [], []
    await api.stock_up("clock", 1_000_000)
    for number in range(HOLDS):
        await api.stock_up(f"S{number}", 1)
        one["body"]["lines"][0]["sku"] = f"S{number}"
        held, refusal = await api.batch(one, one)
        assert refusal["body"]["code"] == "out_of_stock"
        first.append(held["body"])
        told.append(refusal["body"]["shortages"][0])
        await asyncio.sleep(0.037)

    second = await asyncio.gather(*[won(api, f"S{number}", first[number]["expires_at"]) for number in range(HOLDS)])

    for old, at_once, (new, refused) in zip(first, told, second, strict=True):
        assert instant_ms(new["created_at"]) >= instant_ms(old["expires_at"])
        assert {short["reason"] for short in [at_once, *refused]} == {"held"}
        assert {short["next_release_at"] for short in [at_once, *refused]} == {old["expires_at"]}
        ended = await api.reservation(old["id"])
        assert ended["state"] == "expired"
        assert instant_ms(ended["ended_at"]) >= instant_ms(old["expires_at"])
    levels = [await api.counters(f"S{number}") for number in range(HOLDS)]
    assert levels == [(1, 1, 0, 0)] * HOLDS


@pytest.mark.parametrize("gateway", ["embedded"], indirect=True)
async def test_hold_reads_held_before_and_expired_from_its_deadline_on(api: Client) -> None:
    """Reservation and level change together; the judge is Redis' clock, seen by a reserve beside each reading."""
    await api.stock_up("clock", 1_000_000)
    end = time.monotonic() + SECONDS_MAX
    seen: set[str] = set()

    for number in itertools.count():  # another hold where the machine stood still for as long as the one before lived
        seen |= await seen_states(api, f"A{number}")
        if seen == {"held", "expired"}:
            break
        assert time.monotonic() < end, seen


async def seen_states(api: Client, sku: str) -> set[str]:
    """The states that a hold of one second was read in until it read expired, each at its time."""
    await api.stock_up(sku, 1)
    held = await api.hold(sku, ttl_seconds=1)
    deadline = instant_ms(held["expires_at"])
    seen: set[str] = set()
    while "expired" not in seen:
        before = await clock_ms(api)
        found = await api.reservation(held["id"])
        level = await api.level(sku)
        after = await clock_ms(api)
        if after < deadline:
            assert (found["state"], level["held"], level["available"]) == ("held", 1, 0)
        if before >= deadline:
            assert (found["state"], level["held"], level["available"]) == ("expired", 0, 1)
        seen.add(found["state"])
    return seen


async def test_confirm_is_granted_before_and_refused_from_the_deadline_on(api: Client) -> None:
    """Forty confirms around forty deadlines: none that was made at or after its deadline, none lost before it.

    The judge is Redis' clock, read before and after each, so a machine that is slow makes them late and not wrong.
    """
    await api.stock_up("A", CONFIRMS)
    await api.stock_up("clock", 1_000_000)
    one: dict[str, Any] = {"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 1}], "ttl_seconds": 2}}
    # The first one is confirmed at once, however long the machine stands still before.
    lasting = one | {"body": one["body"] | {"ttl_seconds": 60}}
    holds = [result["body"] for result in await api.batch(lasting, *[one] * (CONFIRMS - 1))]
    seen_ms = await clock_ms(api)
    certain = []

    async def confirm(number: int) -> bool:
        deadline = instant_ms(holds[number]["expires_at"])
        if number:
            shift_ms = 10 * (number - CONFIRMS // 2)
            await asyncio.sleep(max(0, deadline + shift_ms - seen_ms) / 1000)
        before = await clock_ms(api)
        answer = await api.act("confirm", holds[number]["id"], ack="memory")
        after = await clock_ms(api)
        assert answer.outcome in {(200, None), (409, "reservation_expired")}, answer.text
        is_granted = answer.status == 200
        if is_granted:
            assert before <= instant_ms(answer.body["confirmed_at"]) < deadline
        if after < deadline:
            assert is_granted, f"refused {deadline - after} ms before its deadline"
        if before >= deadline:
            assert not is_granted, f"granted {before - deadline} ms after its deadline"
        if after < deadline or before >= deadline:
            certain.append(is_granted)
        return is_granted

    confirmed = sum(await asyncio.gather(*[confirm(number) for number in range(CONFIRMS)]))

    assert set(certain) == {True, False}, "no confirm was surely before its deadline, or none surely after it"
    assert await api.counters("A") == (CONFIRMS, 0, confirmed, CONFIRMS - confirmed)


@pytest.mark.parametrize("gateway", ["embedded"], indirect=True)
async def test_expired_hold_is_swept_within_a_second_without_being_asked_for(api: Client) -> None:
    """Nobody touches the sku: the durable listing has the event of its end, at most a second after its deadline.

    What the machine stood still meanwhile, seen by how long the readings took, is not the sweeper's.
    """
    await api.stock_up("A", 1)
    await api.stock_up("B", 1)
    held = await api.hold("A", ttl_seconds=1, reference="forgotten", ack="durable")
    looked = time.monotonic()
    due = looked + 1
    longest_s = 0.0

    while True:
        await api.stock("B")  # by way of Redis, which may be what stands still
        (found,) = (await api.get("/v1/reservations", reference="forgotten")).body["reservations"]
        longest_s, looked = max(longest_s, time.monotonic() - looked), time.monotonic()
        if found["position"] != held["position"]:
            break
        assert looked < due + SECONDS_MAX, found
        await asyncio.sleep(0.05)

    assert (found["state"], found["durable"], found["ended_at"]) == ("expired", True, held["expires_at"])
    assert looked - due <= 1 + 2 * longest_s


@pytest.mark.parametrize("gateway", ["embedded"], indirect=True)
async def test_multi_line_hold_expires_at_all_its_skus(api: Client) -> None:
    """Each of its units is free again, whichever sku is asked for first."""
    for sku in "ABC":
        await api.stock_up(sku, 2)
    await api.stock_up("clock", 1_000_000)
    held = (await api.reserve(("A", 1), ("B", 2), ("C", 1), ttl_seconds=1)).body

    second, _ = await won(api, "B", held["expires_at"])

    assert second["state"] == "held"
    assert [await api.counters(sku) for sku in "ABC"] == [(2, 0, 0, 2), (2, 1, 0, 1), (2, 0, 0, 2)]


async def test_thousands_of_holds_due_at_once_are_free_at_once(api: Client) -> None:
    """More holds of one sku fall due than one step collects: the next buyer still gets them all."""
    await api.stock_up("A", 2000)
    one = {"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 1}], "ttl_seconds": 1}}
    results = await api.batch(*[one] * 1000)
    more = await api.batch(*[one] * 1000)
    last = max(instant_ms(result["body"]["expires_at"]) for result in [*results, *more])
    await api.stock_up("clock", 1)
    await asyncio.sleep(max(0.0, (last - instant_ms((await api.hold("clock"))["created_at"])) / 1000))

    answer = await api.reserve(("A", 2000))

    assert answer.status == 201, answer.text
    assert await api.counters("A") == (2000, 2000, 0, 0)
