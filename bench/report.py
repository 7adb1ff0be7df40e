"""A run as Markdown for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import dataclass

from bench.rounds import Series
from bench.row import Figure
from bench.verdict import Ratio, ratios_of

HOW = """\
Every row was played in rounds that alternate with the other rows' rounds, in one run, on one machine:
servers, databases and load generator share its processors. A rate is the median of its rounds, in brackets
the slowest and the fastest; a ratio is the median of those of the turns, in brackets the least and the
greatest. Latencies are those of a closed loop. Between rounds the gateway's backlog drained. After the rounds
the counts of each round were compared with the levels."""

HOW_LONG = "`make ONLY=long bench` runs them all, `make ONLY=name bench` one of them."


@dataclass(frozen=True)
class Run:
    """All that a report says."""

    date: str
    command: str
    settings: dict[str, str]
    machine: dict[str, str]
    versions: dict[str, str]
    series: dict[str, Series]
    figures: list[Figure]
    problems: list[str]
    is_judged: bool
    #: Long rows that were not asked for.
    left_out: list[str]

    @property
    def missed(self) -> list[str]:
        """What was wanted and not reached, a sentence each; none where the run is too short to be judged."""
        if not self.is_judged:
            return []
        rates = [
            f"{name} {miss}"
            for name, one in self.series.items()
            for ratio in ratios_of(one, self.series)
            for miss in ratio.misses
        ]
        return rates + [f"{one.label}: {one.told}, wanted {one.wanted}" for one in self.figures if not one.is_met]


def markdown(run: Run) -> str:
    """The whole report."""
    parts = [f"# Measured on {run.date}\n", f"`{run.command}`\n", _listed(run.machine), _listed(run.versions)]
    parts.append(_listed(run.settings))
    if run.series:
        parts.append(_rate_table(run))
    if run.figures:
        parts.append(_figure_table(run))
    parts.append(HOW + "\n")
    if run.left_out:
        parts.append(f"Not run, as they take minutes: {', '.join(run.left_out)}. {HOW_LONG}\n")
    for title, sentences in (("Wrong", run.problems), ("Missed", run.missed)):
        if sentences:
            parts.append(f"**{title}:**\n\n" + "".join(f"- {sentence}\n" for sentence in sentences))
    return "\n".join(parts)


def document(run: Run) -> dict[str, object]:
    """The whole report, with every round."""
    return {
        "date": run.date,
        "command": run.command,
        "settings": run.settings,
        "machine": run.machine,
        "versions": run.versions,
        "rows": [_row_document(one, ratios_of(one, run.series)) for one in run.series.values()],
        "figures": [
            {
                "label": one.label,
                "value": one.value,
                "unit": one.unit,
                "value_max": one.value_max,
                "value_min": one.value_min,
            }
            for one in run.figures
        ],
        "left_out": run.left_out,
        "problems": run.problems,
        "missed": run.missed,
    }


def _row_document(series: Series, ratios: list[Ratio]) -> dict[str, object]:
    return {
        "name": series.row.name,
        "title": series.row.title,
        "rate_median": series.rate,
        "p50_ms_median": series.p50_ms,
        "p99_ms_median": series.p99_ms,
        "wrong": series.wrong,
        "disturbed": series.disturbed,
        "ratios": [
            {
                "reference": ratio.reference.row,
                "value": ratio.value,
                "least": ratio.least,
                "greatest": ratio.greatest,
                "ratio_min": ratio.reference.ratio_min,
                "p99_times": ratio.p99_times,
                "p99_times_max": ratio.reference.p99_times_max,
            }
            for ratio in ratios
        ],
        "rounds": [
            {
                "done": one.done,
                "wrong": one.wrong,
                "seconds": one.seconds,
                "p50_ms": one.p50_ms,
                "p99_ms": one.p99_ms,
                "foreign_share": share,
            }
            for one, share in zip(series.samples, series.foreign_shares, strict=True)
        ],
    }


def _rate_table(run: Run) -> str:
    lines = [
        "| row | what | per second | p50 ms | p99 ms | wrong | compared | wanted | |",
        "|---|---|---:|---:|---:|---:|---|---|---|",
    ]
    for name, one in run.series.items():
        ratios = ratios_of(one, run.series)
        compared = "<br>".join(ratio.compared for ratio in ratios)
        judged = [ratio for ratio in ratios if ratio.is_judged]
        wanted = "<br>".join(ratio.wanted for ratio in judged)
        if one.problems:
            verdict = "wrong"
        elif judged and run.is_judged:
            verdict = "met" if not any(ratio.misses for ratio in judged) else "MISSED"
        else:
            verdict = ""
        rate = f"{one.rate:,.0f} ({min(one.rates):,.0f} to {max(one.rates):,.0f})"
        cells = [name, one.row.title, rate, f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}", str(one.wrong)]
        lines.append("| " + " | ".join([*cells, compared, wanted, verdict]) + " |")
    return "\n".join(lines) + "\n"


def _figure_table(run: Run) -> str:
    lines = ["| figure | value | wanted | |", "|---|---:|---|---|"]
    for one in run.figures:
        verdict = ("met" if one.is_met else "MISSED") if run.is_judged and one.wanted else ""
        lines.append(f"| {one.label} | {one.told} | {one.wanted} | {verdict} |")
    return "\n".join(lines) + "\n"


def _listed(facts: dict[str, str]) -> str:
    return "".join(f"- {name}: {fact}\n" for name, fact in facts.items())
