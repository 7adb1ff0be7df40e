"""A deadline is exact: a unit is free for another buyer from that instant, and never before."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.acceptance.answers import instant_ms
from tests.acceptance.client import Client

POLL_SECONDS = 0.01
LATE_MS_MAX = 100
HOLDS = 8
CONFIRMS = 40


async def won(api: Client, sku: str) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Tries to reserve the sku until it is granted; the reservation and every shortage until then."""
    refused: list[dict[str, object]] = []
    end = time.monotonic() + 10
    while True:
        answer = await api.reserve((sku, 1))
        if answer.status == 201:
            return answer.body, refused
        assert answer.outcome == (409, "out_of_stock")
        assert time.monotonic() < end
        refused.append(answer.body["shortages"][0])
        await asyncio.sleep(POLL_SECONDS)


async def clock_ms(api: Client) -> int:
    """Now by Redis' clock: the instant of a reserve of the sku `clock`."""
    return instant_ms((await api.hold("clock"))["created_at"])


async def test_unit_is_free_at_the_deadline_and_never_before(api: Client) -> None:
    """Eight last units, eight deadlines: each second buyer gets his at the deadline, at most a poll late."""
    first = []
    for number in range(HOLDS):
        await api.stock_up(f"S{number}", 1)
        first.append(await api.hold(f"S{number}", ttl_seconds=1))
        await asyncio.sleep(0.037)

    second = await asyncio.gather(*[won(api, f"S{number}") for number in range(HOLDS)])

    for old, (new, refused) in zip(first, second, strict=True):
        late_ms = instant_ms(str(new["created_at"])) - instant_ms(old["expires_at"])
        assert 0 <= late_ms <= LATE_MS_MAX
        assert refused, "the second buyer came too late to see a refusal"
        assert {short["reason"] for short in refused} == {"held"}
        assert {short["next_release_at"] for short in refused} == {old["expires_at"]}
        ended = await api.reservation(old["id"])
        assert ended["state"] == "expired"
        assert instant_ms(ended["ended_at"]) >= instant_ms(old["expires_at"])
    levels = [await api.counters(f"S{number}") for number in range(HOLDS)]
    assert levels == [(1, 1, 0, 0)] * HOLDS


@pytest.mark.parametrize("gateway", ["embedded"], indirect=True)
async def test_hold_reads_held_before_and_expired_from_its_deadline_on(api: Client) -> None:
    """Reservation and level change together; the judge is Redis' clock, seen by a reserve beside each reading."""
    await api.stock_up("A", 1)
    await api.stock_up("clock", 1_000_000)
    held = await api.hold("A", ttl_seconds=1)
    deadline = instant_ms(held["expires_at"])
    seen = set()

    while "expired" not in seen:
        before = await clock_ms(api)
        found = await api.reservation(held["id"])
        level = await api.level("A")
        after = await clock_ms(api)
        if after < deadline:
            assert (found["state"], level["held"], level["available"]) == ("held", 1, 0)
        if before >= deadline:
            assert (found["state"], level["held"], level["available"]) == ("expired", 0, 1)
        assert before < deadline + 1000, "never seen as expired"
        seen.add(found["state"])

    assert seen == {"held", "expired"}


async def test_confirm_is_granted_before_and_refused_from_the_deadline_on(api: Client) -> None:
    """Forty confirms around forty deadlines: none that was made at or after its deadline, none lost before it.

    The judge is Redis' clock, read before and after each, so a machine that is slow makes them late and not wrong.
    """
    await api.stock_up("A", CONFIRMS)
    await api.stock_up("clock", 1_000_000)
    one = {"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 1}], "ttl_seconds": 2}}
    holds = [result["body"] for result in await api.batch(*[one] * CONFIRMS)]
    seen_ms = await clock_ms(api)
    certain = []

    async def confirm(number: int) -> bool:
        deadline = instant_ms(holds[number]["expires_at"])
        if number:  # the first one at once: there is all the time that a hold has
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
    """Nobody touches the sku: the durable listing shows it ended, at most a second after its deadline."""
    await api.stock_up("A", 1)
    held = await api.hold("A", ttl_seconds=1, reference="forgotten")
    end = time.monotonic() + 5

    while True:
        found = (await api.get("/v1/reservations", reference="forgotten")).body["reservations"]
        if found and found[0]["state"] == "expired" and found[0]["durable"] and found[0]["ended_at"]:
            break
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)

    late_ms = instant_ms(found[0]["ended_at"]) - instant_ms(held["expires_at"])
    assert 0 <= late_ms <= 1000


@pytest.mark.parametrize("gateway", ["embedded"], indirect=True)
async def test_multi_line_hold_expires_at_all_its_skus(api: Client) -> None:
    """Each of its units is free again, whichever sku is asked for first."""
    for sku in "ABC":
        await api.stock_up(sku, 2)
    await api.reserve(("A", 1), ("B", 2), ("C", 1), ttl_seconds=1)

    second, _ = await won(api, "B")

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
