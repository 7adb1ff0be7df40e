"""Ratios between rows, and whether they are what is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from statistics import median

from bench.rounds import Series
from bench.row import Reference


@dataclass(frozen=True)
class Ratio:
    """A row as a multiple of another, turn by turn: the median of all turns, the least and the greatest.

    `p99_times` is the same of the p99, the median alone.
    """

    reference: Reference
    value: float
    least: float
    greatest: float
    p99_times: float

    @property
    def is_judged(self) -> bool:
        """Whether something is wanted of it."""
        return self.reference.ratio_min is not None or self.reference.p99_times_max is not None

    @property
    def compared(self) -> str:
        """What was found, in words."""
        told = f"{self.value:.2f} x {self.reference.row} ({self.least:.2f} to {self.greatest:.2f})"
        return told if self.reference.p99_times_max is None else f"{told}, p99 {self.p99_times:.2f} x"

    @property
    def wanted(self) -> str:
        """What is wanted, in words; empty where nothing is."""
        one = self.reference
        rate = [] if one.ratio_min is None else [f"≥ {one.ratio_min:.2f} x {one.row}"]
        p99 = [] if one.p99_times_max is None else [f"p99 ≤ {one.p99_times_max:.2f} x {one.row}"]
        return ", ".join(rate + p99)

    @property
    def misses(self) -> list[str]:
        """What was wanted and not reached, the end of a sentence each."""
        one, found = self.reference, []
        if one.ratio_min is not None and self.value < one.ratio_min:
            found.append(f"is {self.value:.2f} x {one.row}, wanted {one.ratio_min:.2f}")
        if one.p99_times_max is not None and self.p99_times > one.p99_times_max:
            found.append(f"has a p99 of {self.p99_times:.2f} x {one.row}, wanted {one.p99_times_max:.2f} at most")
        return found


def ratios_of(series: Series, every: dict[str, Series]) -> list[Ratio]:
    """The row's ratios to its references, in its order.

    Rounds are compared with those of the same turn, seconds apart: on a machine whose speed changes from minute to minute, a ratio of
    medians would compare fast minutes with slow ones.
    """
    ratios = []
    for reference in series.row.references:
        other = every[reference.row]
        per_round = [mine / theirs for mine, theirs in zip(series.rates, other.rates, strict=True)]
        pairs = zip(series.samples, other.samples, strict=True)
        p99_times = median(mine.p99_ms / theirs.p99_ms if theirs.p99_ms else inf for mine, theirs in pairs)
        ratios.append(Ratio(reference, median(per_round), min(per_round), max(per_round), p99_times))
    return ratios
