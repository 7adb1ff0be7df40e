"""What is seen while a sale goes on: a live table on a terminal, else a plain line every few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.cli.play.invoice import clock
from gateway.cli.sale.figures import RESULTS, Figures
from gateway.cli.sale.histogram import to_ms
from gateway.cli.sale.plan import Plan

REFRESH_SECONDS = 0.25
LINE_SECONDS = 2.0
RATE_SECONDS_MIN = 1.0
CODES_SHOWN_MAX = 8


class Watch:
    """Writes to `console`; `step` is told of each part of the run, `show` goes on until it is cancelled."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._plan = plan
        self._seen = (0.0, 0, 0)
        self._rate = (0.0, 0.0)

    def step(self, words: str) -> None:
        """The run does something else now."""
        self._console.print(words, highlight=False, soft_wrap=True, markup=False)

    async def show(self, figures: Figures) -> None:
        """The figures are shown until the task is cancelled."""
        if not self._console.is_terminal:
            await self._repeat(LINE_SECONDS, lambda: self.step(self._line(figures)))
        with Live(self._table(figures), console=self._console, auto_refresh=False, transient=True) as live:
            await self._repeat(REFRESH_SECONDS, lambda: live.update(self._table(figures), refresh=True))

    @staticmethod
    async def _repeat(seconds: float, tell: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            tell()

    def _rates(self, figures: Figures) -> tuple[float, float]:
        """Tries and answers per second, over a second or more: a shorter time says nothing."""
        now, (then, offered, answered) = clock(), self._seen
        seconds = now - (then or figures.start)
        if seconds >= RATE_SECONDS_MIN:
            self._seen = (now, figures.offered, figures.answered)
            self._rate = ((figures.offered - offered) / seconds, (figures.answered - answered) / seconds)
        return self._rate

    def _line(self, figures: Figures) -> str:
        offered, answered = self._rates(figures)
        p50, p95, p99 = _percentiles(figures)
        results = " ".join(f"{name} {figures.results[name]:,}" for name in RESULTS if figures.results[name])
        return (
            f"{max(0.0, clock() - figures.start):.1f} s: {figures.arrived:,} of {self._plan.buyers:,} buyers, "
            f"offered {offered:,.0f}/s, answered {answered:,.0f}/s, p50 {p50:g} p95 {p95:g} p99 {p99:g} ms, "
            f"{_left(figures, self._plan)}; {results}"
        )

    def _table(self, figures: Figures) -> Table:
        offered, answered = self._rates(figures)
        p50, p95, p99 = _percentiles(figures)
        table = Table("flash sale", f"{max(0.0, clock() - figures.start):.1f} s")
        table.columns[1].justify = "right"
        table.add_row("buyers", f"{figures.arrived:,} of {self._plan.buyers:,}")
        table.add_row("offered / answered", f"{offered:,.0f} / {answered:,.0f} per second")
        table.add_row("reserve, last seconds", f"p50 {p50:g}  p95 {p95:g}  p99 {p99:g} ms")
        table.add_row("units left", _left(figures, self._plan))
        table.add_row("our own lateness, p99", f"{to_ms(figures.loop_lag.quantile_seconds(0.99)):g} ms")
        table.add_section()
        for code, count in figures.codes.most_common(CODES_SHOWN_MAX):
            # As Text: rich would read brackets in a code as its own markup.
            table.add_row(Text(code), f"{count:,}")
        return table


def _percentiles(figures: Figures) -> tuple[float, float, float]:
    recent = figures.recent()
    return tuple(to_ms(recent.quantile_seconds(share)) for share in (0.5, 0.95, 0.99))  # type: ignore[return-value]


def _left(figures: Figures, plan: Plan) -> str:
    if figures.stock is None:
        return f"? of {plan.units_total:,} units left"
    return f"{figures.stock.available:,} of {plan.units_total:,} units left, {figures.stock.held:,} held"
