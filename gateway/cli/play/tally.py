"""The independent count: what every level must be now, from the base and the gateway's answers alone.

Only sums are kept. Additions commute, so it does not matter in which order invoices ended, nor in which
process they were played: what depends on the order (who got the last unit, which correction was refused) is
in the answers already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.cli.play.level import LevelKey, LevelRead
from gateway.cli.play.outcome import ADJUSTED, RESULTS, Outcome


@dataclass(slots=True)
class Tally:
    """The count so far. `base` is every level of the touched skus before the first invoice."""

    base: Mapping[LevelKey, LevelRead]
    sold: dict[LevelKey, int] = field(default_factory=dict)
    adjusted: dict[LevelKey, int] = field(default_factory=dict)
    returned: dict[str, int] = field(default_factory=dict)
    results: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*RESULTS, *ADJUSTED), 0))
    invoices: int = 0
    lines: int = 0
    retries: int = 0

    def add(self, outcome: Outcome) -> None:
        """One more invoice has ended so."""
        self.invoices += 1
        self.lines += outcome.lines + sum(outcome.counts.values())
        self.retries += outcome.retries
        if outcome.result:
            self.results[outcome.result] += 1
        for kind, count in outcome.counts.items():
            self.results[kind] += count
        for sku, location, units in outcome.sold:
            self.sold[sku, location] = self.sold.get((sku, location), 0) + units
        for sku, location, delta in outcome.adjusted:
            self.adjusted[sku, location] = self.adjusted.get((sku, location), 0) + delta
            if delta > 0:
                self.returned[sku] = self.returned.get(sku, 0) + delta

    def expected(self) -> dict[LevelKey, LevelRead]:
        """Every level as it must be read now that no hold is left: nothing held, nothing committed."""
        expected = {}
        for key in {*self.base, *self.sold, *self.adjusted}:
            base = self.base.get(key, LevelRead(0, 0, 0, 0))
            on_hand = base.on_hand - self.sold.get(key, 0) + self.adjusted.get(key, 0)
            expected[key] = LevelRead(on_hand, 0, 0, on_hand - base.reserved_aside, base.reserved_aside)
        return expected

    def oversold(self) -> dict[str, tuple[int, int]]:
        """(units sold, units there ever were) of each sku that sold more than its start stock and its
        returns.

        Corrections downwards do not count: a hold that was covered when it was made stays a good sale. A
        negative safety stock is a backorder allowance and does count.
        """
        there: dict[str, int] = dict(self.returned)
        sold: dict[str, int] = {}
        for (sku, _), base in self.base.items():
            there[sku] = there.get(sku, 0) + base.on_hand - min(0, base.reserved_aside)
        for (sku, _), units in self.sold.items():
            sold[sku] = sold.get(sku, 0) + units
        return {sku: (units, there.get(sku, 0)) for sku, units in sorted(sold.items()) if units > there.get(sku, 0)}
