"""Ratios between rows and limits of figures: when something is missed, and what the table says of it."""

from __future__ import annotations

from typing import ClassVar

import pytest

from bench.rounds import Series
from bench.row import Figure, RateRow, Reference, Sample
from bench.verdict import Ratio, ratios_of


class Judged(RateRow):
    """A row of which both a rate and a p99 are wanted."""

    name = "judged"
    title = "judged"
    references: ClassVar[tuple[Reference, ...]] = (Reference("other", 0.5, p99_times_max=2.0),)

    def prepare(self) -> None:
        raise NotImplementedError

    def play(self, seconds: float) -> Sample:
        raise NotImplementedError

    def verify(self) -> list[str]:
        raise NotImplementedError


def ratio(mine: list[tuple[int, float]], theirs: list[tuple[int, float]]) -> Ratio:
    """Of rounds of one second, each with what was done and its p99 in ms."""
    rows = [
        Series(Judged(None), [Sample(done, 0, 1.0, 1.0, p99_ms) for done, p99_ms in rounds])  # type: ignore[arg-type]
        for rounds in (mine, theirs)
    ]
    (found,) = ratios_of(rows[0], {"other": rows[1]})
    return found


def test_ratio_compares_rounds_of_one_turn() -> None:
    """On a machine that slows down from turn to turn each round is compared with its neighbour; medians would be 100 of 100."""
    found = ratio([(500, 1.0), (100, 9.0), (30, 9.0)], [(1000, 1.0), (100, 9.0), (50, 9.0)])

    assert (found.value, found.least, found.greatest, found.p99_times) == (0.6, 0.5, 1.0, 1.0)
    assert found.misses == []


@pytest.mark.parametrize(
    ("rate", "p99_ms", "words"),
    [(499, 1.0, ["is 0.50 x other"]), (500, 2.1, ["has a p99 of 2.10 x other"]), (1, 3.0, ["is 0.00", "has a p99"])],
)
def test_ratio_tells_each_miss(rate: int, p99_ms: float, words: list[str]) -> None:
    """A rate below the least and a p99 above the most are a sentence each."""
    misses = ratio([(rate, p99_ms)], [(1000, 1.0)]).misses

    assert [miss.startswith(word) for miss, word in zip(misses, words, strict=True)] == [True] * len(words)


def test_ratio_to_a_row_without_latencies_misses_every_limit() -> None:
    """A reference whose p99 is unknown proves nothing."""
    assert len(ratio([(1000, 1.0)], [(1000, 0.0)]).misses) == 1


def test_ratio_says_what_is_wanted() -> None:
    """The table names rate and p99 in the order of the reference."""
    found = ratio([(500, 1.0)], [(1000, 1.0)])

    assert found.wanted == "≥ 0.50 x other, p99 ≤ 2.00 x other"
    assert found.compared == "0.50 x other (0.50 to 0.50), p99 1.00 x"


@pytest.mark.parametrize(
    ("value", "value_max", "value_min", "is_met"),
    [
        (5.0, None, None, True),
        (5.0, 5.0, None, True),
        (5.1, 5.0, None, False),
        (5.0, None, 5.0, True),
        (4.9, None, 5.0, False),
    ],
)
def test_figure_is_met_within_its_limits(
    value: float, value_max: float | None, value_min: float | None, is_met: bool
) -> None:
    """The limits themselves are met; without one everything is."""
    assert Figure("one", value, "ms", value_max, value_min).is_met == is_met


def test_figure_shows_places_only_where_they_matter() -> None:
    """A ratio keeps two, a rate none."""
    assert Figure("one", 0.876, "x", value_min=0.85).told == "0.88 x"
    assert Figure("one", 61234.5, "events per s", value_min=60_000.0).told == "61,234 events per s"
    assert Figure("one", 1.0, "ms", value_max=10.0).wanted == "≤ 10 ms"
