"""Ratios between rows, and whether they are what is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from bench.rounds import Series
from bench.row import Reference


@dataclass(frozen=True)
class Ratio:
    """A row as a multiple of another, turn by turn: the median of all turns, the least and the greatest."""

    reference: Reference
    value: float
    least: float
    greatest: float

    @property
    def is_met(self) -> bool:
        """Whether the wanted ratio is reached; true where none is wanted."""
        return self.reference.ratio_min is None or self.value >= self.reference.ratio_min


def ratios_of(series: Series, every: dict[str, Series]) -> list[Ratio]:
    """The row's ratios to its references, in its order.

    Rounds are compared with those of the same turn, seconds apart: on a machine whose speed changes from minute to minute, a ratio of
    medians would compare fast minutes with slow ones.
    """
    ratios = []
    for reference in series.row.references:
        other = every[reference.row]
        per_round = [mine / theirs for mine, theirs in zip(series.rates, other.rates, strict=True)]
        ratios.append(Ratio(reference, median(per_round), min(per_round), max(per_round)))
    return ratios
