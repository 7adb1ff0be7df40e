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

    @property
    def missed(self) -> list[str]:
        """What was wanted and not reached, a sentence each; none where the run is too short to be judged."""
        if not self.is_judged:
            return []
        ratios = [
            (name, ratio)
            for name, one in self.series.items()
            for ratio in ratios_of(one, self.series)
            if not ratio.is_met
        ]
        return [
            f"{name} is {ratio.value:.2f} x {ratio.reference.row}, wanted {ratio.reference.ratio_min:.2f}"
            for name, ratio in ratios
        ] + [
            f"{one.label}: {one.value:.0f} {one.unit}, at most {one.value_max}"
            for one in self.figures
            if not one.is_met
        ]


def markdown(run: Run) -> str:
    """The whole report."""
    parts = [f"# Measured on {run.date}\n", f"`{run.command}`\n", _listed(run.machine), _listed(run.versions)]
    parts.append(_listed(run.settings))
    if run.series:
        parts.append(_rate_table(run))
    if run.figures:
        parts.append(_figure_table(run))
    parts.append(HOW + "\n")
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
            {"label": one.label, "value": one.value, "unit": one.unit, "value_max": one.value_max}
            for one in run.figures
        ],
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
        compared = "<br>".join(
            f"{ratio.value:.2f} x {ratio.reference.row} ({ratio.least:.2f} to {ratio.greatest:.2f})" for ratio in ratios
        )
        judged = [ratio for ratio in ratios if ratio.reference.ratio_min is not None]
        wanted = "<br>".join(f"≥ {ratio.reference.ratio_min:.2f} x {ratio.reference.row}" for ratio in judged)
        if one.problems:
            verdict = "wrong"
        elif judged and run.is_judged:
            verdict = "met" if all(ratio.is_met for ratio in judged) else "MISSED"
        else:
            verdict = ""
        rate = f"{one.rate:,.0f} ({min(one.rates):,.0f} to {max(one.rates):,.0f})"
        cells = [name, one.row.title, rate, f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}", str(one.wrong)]
        lines.append("| " + " | ".join([*cells, compared, wanted, verdict]) + " |")
    return "\n".join(lines) + "\n"


def _figure_table(run: Run) -> str:
    lines = ["| figure | value | wanted | |", "|---|---:|---|---|"]
    for one in run.figures:
        wanted = "" if one.value_max is None else f"≤ {one.value_max:g} {one.unit}"
        verdict = ("met" if one.is_met else "MISSED") if run.is_judged and wanted else ""
        lines.append(f"| {one.label} | {one.value:,.0f} {one.unit} | {wanted} | {verdict} |")
    return "\n".join(lines) + "\n"


def _listed(facts: dict[str, str]) -> str:
    return "".join(f"- {name}: {fact}\n" for name, fact in facts.items())
