"""The end of a sale on the terminal; the verdict stands last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.sale.verdict import KINDS


def show(told: Mapping[str, Any], console: Console, violations_shown_max: int) -> None:
    """The report is on the console; `told` has the shape of `Result.as_json`."""
    outcomes = Table("outcome", "count", title=f"flash sale {told['run']}")
    for name, count in [*told["results"].items(), *((f"answer {code}", n) for code, n in told["codes"].items())]:
        # As Text: rich would read brackets in a code as its own markup.
        outcomes.add_row(Text(name), f"{count:,}")
    latency = Table("operation", "requests", "p50 ms", "p95 ms", "p99 ms", "max ms")
    for name, found in told["latency"].items():
        numbers = (found[key] for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
        latency.add_row(name, f"{found['count']:,}", *(f"{number:,.2f}" for number in numbers))
    for column in (outcomes.columns[1], *latency.columns[1:]):
        column.justify = "right"
    console.print(outcomes)
    console.print(latency)
    verdict, totals = told["verdict"], told["totals"]
    rates = f"{totals['arrived']:,} buyers in {told['seconds']:.2f} s, {totals['answered_per_second']:,} requests answered/s"
    _say(console, rates)
    _say(console, told["schedule"]["words"])
    for each in verdict["violations"][:violations_shown_max]:
        _say(console, f"  {KINDS.get(each['kind'], each['kind'])}: {each['where']}: {each['detail']}")
    if verdict["violations_count"] > violations_shown_max:
        _say(console, f"  and {verdict['violations_count'] - violations_shown_max:,} more")
    for words in (*verdict["not_checked"], *([told["failure"]] if told["failure"] else [])):
        _say(console, f"not checked: {words}")
    for words in (told["cleanup"] or {}).get("failures", [])[:violations_shown_max]:
        _say(console, f"not cleaned up: {words}")
    _say(console, f"{verdict['word']}: {verdict['sentence']}")


def _say(console: Console, words: str) -> None:
    console.print(Text(words), highlight=False, soft_wrap=True)
