"""Latencies and the course of a sale in bounded memory."""

from __future__ import annotations

import math
import random

import pytest

from gateway.cli.sale.figures import CODES_MAX, OTHER_CODE, Figures
from gateway.cli.sale.histogram import BUCKETS, Histogram
from gateway.cli.sale.timeline import StockSample, Timeline


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_histogram_percentiles_are_those_of_the_values_within_a_bucket(seed: int) -> None:
    """Never below the exact nearest rank, and at most 2.2 % above it; the maximum and the mean are exact."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    values = [min(math.exp(chance.gauss(-5, 2)), 300.0) for _ in range(5_000)]
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    ordered = sorted(values)

    for share in (0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0):
        exact = max(ordered[math.ceil(share * len(ordered)) - 1], 1e-5)
        assert exact * 0.999999 <= histogram.quantile_seconds(share) <= exact * 1.0221, share
    assert histogram.quantile_seconds(1.0) == histogram.max_seconds == ordered[-1]
    assert histogram.as_json()["mean_ms"] == pytest.approx(sum(values) / 5, abs=0.01)


def test_histogram_takes_anything_and_stays_small() -> None:
    """Nothing, zero and hours: each has a bucket, of which there is a bounded number."""
    histogram = Histogram()
    assert histogram.quantile_seconds(0.99) == 0.0
    for step in range(100_000):
        histogram.add(1.0002**step * 1e-6)
    histogram.add(0.0)
    histogram.add(86_400.0)

    assert len(histogram._buckets) <= BUCKETS + 1
    assert histogram.quantile_seconds(1.0) == 86_400.0
    assert histogram.count == 100_002


def test_histogram_merged_is_the_histogram_of_both() -> None:
    """Adding two equals having measured all in one."""
    one, other, both = Histogram(), Histogram(), Histogram()
    for number in range(1, 200):
        (one if number % 3 else other).add(number / 1000)
        both.add(number / 1000)
    one.merge(other)

    assert one.as_json() == both.as_json()


def test_timeline_grows_coarser_instead_of_longer() -> None:
    """A day of marks fits into the bounded number of slices, and none of them is lost."""
    timeline = Timeline(slices_max=10)
    for second in range(0, 86_400, 60):
        timeline.at(float(second)).counts["offered"] += 1
        timeline.at(float(second)).reserve.add(0.001)
    timeline.at(86_399.0).stock = StockSample(1, 2, 3)
    told = timeline.as_json()
    slices = told["slices"]

    assert isinstance(slices, list)
    assert len(slices) <= 10
    assert sum(one["offered"] for one in slices) == 1_440
    assert sum(one.reserve.count for one in timeline.slices) == 1_440
    assert (slices[-1]["available"], slices[-1]["held"], slices[-1]["committed"]) == (1, 2, 3)
    assert slices[-1]["at_seconds"] < 86_400 <= slices[-1]["at_seconds"] + timeline.slice_seconds


def test_figures_keep_a_bounded_number_of_codes() -> None:
    """An answering machine that makes up codes fills no memory; all its answers are counted."""
    figures = Figures(0.0, lambda: 1.0)
    for number in range(1_000):
        figures.count_code(f"{'x' * 500}{number}" if number % 2 else str(number))

    assert len(figures.codes) <= CODES_MAX + 1
    assert sum(figures.codes.values()) == 1_000
    assert figures.codes[OTHER_CODE] > 0
    assert max(map(len, figures.codes)) <= 60


def test_figures_count_latency_from_the_intended_start() -> None:
    """A request that left late counts its wait, the lag shows it as ours, and it stands where it was due."""
    now = 100.0
    figures = Figures(100.0, lambda: now)
    now = 100.8
    figures.due(100.3)
    now = 101.3
    figures.took("reserve", "", 100.3)

    assert figures.latency["reserve"].max_seconds == pytest.approx(1.0)
    assert figures.send_lag.max_seconds == pytest.approx(0.5)
    assert [one.counts["offered"] for one in figures.timeline.slices] == [0, 1, 0, 0, 0, 0]
    assert [one.counts["answered"] for one in figures.timeline.slices] == [0, 0, 0, 0, 0, 1]
    assert [one.reserve.count for one in figures.timeline.slices] == [0, 1, 0, 0, 0, 0]
