"""Playing the rows in alternating rounds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from bench.failure import LoadFailure
from bench.quiet import FOREIGN_SHARE_MAX, ForeignLoad, wait_quiet
from bench.row import RateRow, Sample

Say = Callable[[str], None]
WARM_SECONDS_MAX = 0.5


@dataclass
class Series:
    """The rounds of one row, in the order of time, and what was found wrong with them.

    `foreign_shares` are the parts of the machine that others used during each round, 0 to 1; None: not known.
    """

    row: RateRow
    samples: list[Sample] = field(default_factory=list)
    foreign_shares: list[float | None] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Per round, done per second."""
        return [sample.rate for sample in self.samples]

    @property
    def rate(self) -> float:
        """The median over the rounds."""
        return median(self.rates)

    @property
    def p50_ms(self) -> float:
        """The median over the rounds of each round's p50."""
        return median(sample.p50_ms for sample in self.samples)

    @property
    def p99_ms(self) -> float:
        """The median over the rounds of each round's p99."""
        return median(sample.p99_ms for sample in self.samples)

    @property
    def wrong(self) -> int:
        """Answers that were not what the row expects, and requests without one."""
        return sum(sample.wrong for sample in self.samples)

    @property
    def disturbed(self) -> int | None:
        """Rounds in which others took a part of the machine that matters; None: not known."""
        known = [share for share in self.foreign_shares if share is not None]
        return None if len(known) < len(self.foreign_shares) else sum(map(is_disturbing, known))


def is_disturbing(share: float | None) -> bool:
    """Whether a round with so much foreign load is to be marked."""
    return share is not None and share > FOREIGN_SHARE_MAX


def play_rounds(
    rows: list[RateRow], rounds: int, seconds: float, say: Say, renew: Callable[[], None]
) -> dict[str, Series]:
    """Every row was prepared, played `rounds` times in turn, and checked.

    Each turn has new web servers (`renew`), which are warmed by a short round that is not kept.
    The order moves by one with each round: a row would otherwise always run in the wake of the same
    neighbour.

    Raises:
        BenchFailure: a server or the generator failed.
    """
    series = {row.name: Series(row) for row in rows}
    for row in rows:
        say(f"preparing {row.name}")
        row.prepare()
    for turn in range(rounds):
        if turn:
            renew()
        for row in rows:
            row.play(min(WARM_SECONDS_MAX, seconds))
            row.settle()
        first = turn % len(rows) if rows else 0
        for row in rows[first:] + rows[:first]:
            wait_quiet()
            others = ForeignLoad()
            played = row.play(seconds)
            share = others.share()
            if not played.done:
                raise LoadFailure(f"{row.name}: nothing was answered as expected in {seconds:g} s")
            row.settle()
            series[row.name].samples.append(played)
            series[row.name].foreign_shares.append(share)
            noise = f"  (others used {share:.0%} of the machine)" if share and is_disturbing(share) else ""
            figures = f"{row.name:<10}{played.rate:>10,.0f}/s  p99 {played.p99_ms:.1f} ms"
            say(f"round {turn + 1}/{rounds}  {figures}{noise}")
    for one in series.values():
        say(f"checking {one.row.name}")
        one.problems += one.row.verify()
        if one.wrong:
            one.problems.append(f"{one.row.name}: {one.wrong} answers were missing or not as expected")
    return series


def say_to_terminal(line: str) -> None:
    """The line is on standard error: standard output is for the result."""
    print(line, file=sys.stderr, flush=True)
