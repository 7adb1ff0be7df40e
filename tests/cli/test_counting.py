"""The count of the tool itself: plan, tally and percentiles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.cli.play.latency import Latencies
from gateway.cli.play.level import LevelRead
from gateway.cli.play.outcome import FULFILLED, RETURNED, Outcome
from gateway.cli.play.tally import Tally
from tests.cli.playing import PLAN


def test_plan_start_units_are_rounded_down_in_decimals() -> None:
    """0.7 of 10 is 7, not the 6.99… of binary fractions; half of 5 is 2."""
    assert replace(PLAN, stock="0.7").start_units(10) == 7
    assert replace(PLAN, stock="0.5").start_units(5) == 2
    assert replace(PLAN, stock="1.1").start_units(10) == 11
    assert replace(PLAN, stock="0.0").start_units(5) == 0


def test_plan_abandons_the_share_and_always_the_same_invoices() -> None:
    """The seed and the number decide, so processes agree; another seed decides otherwise; 0 and 1 are none
    and all.
    """
    numbers = [str(number) for number in range(10_000)]

    chosen = {n for n in numbers if PLAN.is_abandoned(n)}

    assert 0.28 < len(chosen) / len(numbers) < 0.32
    assert chosen == {n for n in numbers if replace(PLAN, run="other", processes=4).is_abandoned(n)}
    assert chosen != {n for n in numbers if replace(PLAN, seed=2).is_abandoned(n)}
    assert not any(replace(PLAN, abandon=0.0).is_abandoned(n) for n in numbers)
    assert all(replace(PLAN, abandon=1.0).is_abandoned(n) for n in numbers)


@pytest.mark.parametrize("number", ["536365", "É 1", "x" * 128, "\U0001f600" * 128])
def test_plan_request_key_is_visible_ascii_and_its_own(number: str) -> None:
    """Any invoice number makes a key that the API takes, and no two requests share one."""
    keys = {
        PLAN.request_key(number, "reserve"),
        PLAN.request_key(number, "line-2"),
        PLAN.request_key(number + "1", "reserve"),
        replace(PLAN, run="other").request_key(number, "reserve"),
    }

    assert len(keys) == 4
    assert all(1 <= len(key) <= 255 and all("!" <= character <= "~" for character in key) for key in keys)


def test_tally_adds_up_what_was_answered() -> None:
    """Expected on_hand is base minus sales plus adjustments; deductions and safety stock come off what is
    available.
    """
    tally = Tally({("A", "main"): LevelRead(10, 0, 0, 7, 3), ("A", "shop"): LevelRead(4, 0, 0, 4)})
    tally.add(Outcome("1", FULFILLED, lines=2, sold=[("A", "main", 6), ("A", "shop", 4)]))
    tally.add(Outcome("C2", adjusted=[("A", "main", 1)], counts={RETURNED: 1}))

    assert tally.expected() == {
        ("A", "main"): LevelRead(5, 0, 0, 2, 3),
        ("A", "shop"): LevelRead(0, 0, 0, 0),
    }
    assert tally.oversold() == {}
    assert (tally.invoices, tally.lines) == (2, 3)


def test_tally_oversell_counts_returns_but_not_corrections() -> None:
    """A sale of more than start stock and returns is an oversell; a later write-off of units does not make it
    one.
    """
    base = {("A", "main"): LevelRead(5, 0, 0, 5)}
    good, bad = Tally(base), Tally(base)
    good.add(Outcome("1", FULFILLED, sold=[("A", "main", 6)], adjusted=[("A", "main", 1), ("A", "main", -5)]))
    bad.add(Outcome("1", FULFILLED, sold=[("A", "main", 7)], adjusted=[("A", "main", 1)]))

    assert good.oversold() == {}
    assert bad.oversold() == {"A": (7, 6)}


def test_tally_backorder_allowance_is_no_oversell() -> None:
    """A negative safety stock is stock that may be sold."""
    tally = Tally({("A", "main"): LevelRead(0, 0, 0, 2, -2)})
    tally.add(Outcome("1", FULFILLED, sold=[("A", "main", 2)]))

    assert tally.oversold() == {}


def test_latencies_percentiles_are_measured_values() -> None:
    """The nearest rank: each percentile is one of the values, and the largest is the maximum."""
    latencies = Latencies()
    for milliseconds in range(1, 101):
        latencies.add("reserve", milliseconds / 1_000)
    latencies.add("confirm", 0.5)

    found = latencies.percentiles()

    assert list(found) == ["reserve", "confirm"]
    reserve = found["reserve"]
    assert (reserve.count, reserve.p50_ms, reserve.p95_ms, reserve.p99_ms, reserve.max_ms) == (
        100,
        50,
        95,
        99,
        100,
    )
    assert found["confirm"].p50_ms == found["confirm"].max_ms == 500
    assert latencies.count == 101
