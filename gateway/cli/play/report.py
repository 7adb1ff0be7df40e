"""What a run found, for people and for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.play.latency import Latencies, Percentiles
from gateway.cli.play.orders import Orders
from gateway.cli.play.plan import Plan
from gateway.cli.play.tally import Tally
from gateway.cli.play.verdict import Verdict

SHOWN_MAX = 30
#: Kept in the report; a run against a wrong gateway could contradict itself without end.
KEPT_MAX = 10_000


@dataclass(slots=True)
class Complaints:
    """Answers that break the contract by themselves, and invoices or corrections that were refused; each list
    is bounded.
    """

    contradictions: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, contradictions: list[str], refusals: list[str]) -> None:
        """Some more."""
        self.count += len(contradictions) + len(refusals)
        self.contradictions += contradictions[: KEPT_MAX - len(self.contradictions)]
        self.refusals += refusals[: KEPT_MAX - len(self.refusals)]


@dataclass(slots=True)
class Report:
    """One run. `seconds` is the time of the playing alone, without loading and comparing."""

    plan: Plan
    orders: Orders
    tally: Tally
    latencies: Latencies
    complaints: Complaints
    verdict: Verdict
    seconds: float
    played_now: int
    lines_now: int
    invoices_earlier: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether everything was played, nothing differs and no law was broken."""
        verdict = self.verdict
        return not (verdict.differences or verdict.violations or self.complaints.count or self.orders.refused)

    def per_second(self, count: int) -> float:
        """A rate over the time of the playing."""
        return round(count / self.seconds, 1) if self.seconds else 0.0

    def as_json(self) -> dict[str, object]:
        """The whole report; the API key is not in it."""
        plan = asdict(self.plan)
        del plan["key"]
        return {
            "run": self.plan.run,
            "is_exact": self.is_exact,
            "plan": plan,
            "orders": {
                "rows": self.orders.rows,
                "invoices": len(self.orders.invoices),
                "zero_rows": self.orders.zero_rows,
                "refused": [{"line": line, "reason": reason} for line, reason in self.orders.refused[:KEPT_MAX]],
            },
            "invoices_played": self.tally.invoices,
            "invoices_played_earlier": self.invoices_earlier,
            "results": self.tally.results,
            "retries": self.tally.retries,
            "verdict": asdict(self.verdict),
            "contradictions": self.complaints.contradictions,
            "refusals": self.complaints.refusals,
            "throughput": {
                "seconds": round(self.seconds, 3),
                "invoices_per_second": self.per_second(self.played_now),
                "lines_per_second": self.per_second(self.lines_now),
                "requests_per_second": self.per_second(self.latencies.count),
            },
            "latency": {name: asdict(found) for name, found in self.latencies.percentiles().items()},
        }

    def show(self, console: Console) -> None:
        """The report is on the console, the verdict last."""
        console.print(self._results())
        console.print(self._speed(self.latencies.percentiles()))
        rates = (
            f"{self.per_second(self.played_now):,} invoices/s",
            f"{self.per_second(self.lines_now):,} lines/s",
            f"{self.per_second(self.latencies.count):,} requests/s",
            f"{self.tally.retries:,} requests repeated",
        )
        console.print(
            f"{self.played_now:,} invoices in {self.seconds:.2f} s:", ", ".join(rates), highlight=False, soft_wrap=True
        )
        if self.verdict.differences:
            console.print(self._differences())
        for title, lines in self._lists():
            _print_list(console, title, lines)
        console.print(self._last_words(), highlight=False, soft_wrap=True)

    def _results(self) -> Table:
        table = Table("outcome", "count", title=f"run {self.plan.run}")
        table.columns[1].justify = "right"
        table.add_row("invoices in the file", f"{len(self.orders.invoices):,}")
        table.add_row("invoices played", f"{self.tally.invoices:,}")
        for name, count in self.tally.results.items():
            table.add_row(f"  {name}", f"{count:,}")
        table.add_row("rows with quantity 0, skipped", f"{self.orders.zero_rows:,}")
        return table

    def _speed(self, percentiles: dict[str, Percentiles]) -> Table:
        table = Table("operation", "requests", "p50 ms", "p95 ms", "p99 ms", "max ms")
        for name, found in percentiles.items():
            numbers = (found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms)
            table.add_row(name, f"{found.count:,}", *(f"{number:,.2f}" for number in numbers))
        for column in table.columns[1:]:
            column.justify = "right"
        return table

    def _differences(self) -> Table:
        table = Table("sku", "location", "counter", "expected", "found", title="differences")
        for each in self.verdict.differences[:SHOWN_MAX]:
            found = "no such level" if each.found is None else str(each.found)
            # As Text: rich would read brackets in a sku as its own markup.
            table.add_row(Text(each.sku), Text(each.location), each.counter, str(each.expected), found)
        return table

    def _lists(self) -> Iterator[tuple[str, list[str]]]:
        yield "laws broken", self.verdict.violations
        yield "answers that contradict the contract", self.complaints.contradictions
        yield "refused by the gateway", self.complaints.refusals
        yield (
            "rows that cannot be played",
            [f"line {line}: {reason}" for line, reason in self.orders.refused],
        )

    def _last_words(self) -> str:
        verdict = self.verdict
        counted = f"{verdict.levels:,} levels and {verdict.reservations:,} reservations read back"
        late = (
            f"held units seen until {verdict.late_seconds:g} s after the last deadline" if verdict.late_seconds else ""
        )
        lost = f"{verdict.lost_holds:,} abandoned holds were lost with the hot store" if verdict.lost_holds else ""
        words = "; ".join(part for part in (counted, late, lost) if part)
        faults = (
            f"{len(verdict.differences):,} differences, {len(verdict.violations):,} laws broken, "
            f"{self.complaints.count:,} complaints, {len(self.orders.refused):,} rows not played"
        )
        return f"{'exact' if self.is_exact else 'NOT EXACT'}: {faults}; {words}"


def _print_list(console: Console, title: str, lines: list[str]) -> None:
    if not lines:
        return
    console.print(f"{title}:")
    for line in lines[:SHOWN_MAX]:
        console.print(Text(f"  {line}"), soft_wrap=True)
    if len(lines) > SHOWN_MAX:
        console.print(f"  and {len(lines) - SHOWN_MAX:,} more")
