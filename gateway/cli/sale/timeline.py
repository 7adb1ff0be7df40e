"""The course of a sale in slices of equal width, of which there are never more than a few hundred."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gateway.cli.sale.histogram import Histogram, to_ms

SLICE_SECONDS_MIN = 0.25
SLICES_MAX = 240

#: What is counted in a slice: tries that were due, answers, and how they ended.
COUNTED = ("offered", "answered", "granted", "refused", "sold", "failed")


@dataclass(frozen=True, slots=True)
class StockSample:
    """What the gateway said of all the sale's skus together."""

    available: int
    held: int
    committed: int


@dataclass(slots=True)
class Slice:
    """What fell into one slice; `reserve` by the intended start, `stock` the last that was read in it."""

    counts: Counter[str] = field(default_factory=Counter)
    reserve: Histogram = field(default_factory=Histogram)
    stock: StockSample | None = None

    def merge(self, later: Slice) -> None:
        """The slice reaches to the end of the later one."""
        self.counts.update(later.counts)
        self.reserve.merge(later.reserve)
        self.stock = later.stock or self.stock


class Timeline:
    """The slices from the start of the sale. When there would be too many, each two become one, and the width doubles."""

    def __init__(self, slices_max: int = SLICES_MAX) -> None:
        self.slice_seconds = SLICE_SECONDS_MIN
        self.slices: list[Slice] = []
        self._slices_max = slices_max

    def at(self, seconds: float) -> Slice:
        """The slice that this moment lies in; one before the start belongs to the first."""
        while (index := max(0, int(seconds / self.slice_seconds))) >= self._slices_max:
            self._halve()
        while len(self.slices) <= index:
            self.slices.append(Slice())
        return self.slices[index]

    def as_json(self) -> dict[str, object]:
        """`slice_seconds`, and `slices`: at_seconds (its begin), the counts, p50/p95/p99/max_ms of reserves that were due in it
        (null without one), available/held/committed as last read in it (null without a reading).
        """
        return {"slice_seconds": self.slice_seconds, "slices": [self._told(n) for n in range(len(self.slices))]}

    def _told(self, number: int) -> dict[str, object]:
        one = self.slices[number]
        told: dict[str, object] = {"at_seconds": round(number * self.slice_seconds, 3)}
        told |= {name: one.counts[name] for name in COUNTED}
        has = one.reserve.count > 0
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
            told[f"{name}_ms"] = to_ms(one.reserve.quantile_seconds(share)) if has else None
        for name in ("available", "held", "committed"):
            told[name] = None if one.stock is None else getattr(one.stock, name)
        return told

    def _halve(self) -> None:
        pairs = zip(self.slices[::2], [*self.slices[1::2], Slice()], strict=False)
        merged = []
        for first, second in pairs:
            first.merge(second)
            merged.append(first)
        self.slices = merged
        self.slice_seconds *= 2
