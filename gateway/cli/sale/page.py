"""The report as one HTML file: no script, no network; every value is from the JSON report and escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from gateway.cli.sale.charts import Series, areas, bars, lines
from gateway.cli.sale.verdict import KINDS

Told = Mapping[str, Any]

VIOLATIONS_SHOWN_MAX = 50
PERCENTILES = (("p50", "p50_ms"), ("p95", "p95_ms"), ("p99", "p99_ms"), ("max", "max_ms"))
ALL_PERCENTILES = (("p50", "p50"), ("p90", "p90"), ("p95", "p95"), ("p99", "p99"), ("p99.9", "p999"), ("max", "max"))
RESULT_COLOURS = {
    "sold": "blue",
    "abandoned": "orange",
    "bot_held": "orange",
    "sold_out": "grey",
    "bot_sold_out": "grey",
}


def page(told: Told) -> str:
    """The page of a report, whose shape is that of `Result.as_json`."""
    title = f"Flash sale {told['run']}"
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f'<header><h1>Flash sale</h1><p class="soft">{escape(told["run"])}, {escape(told["began_at"])}</p></header>'
        f"<main>{''.join(_parts(told))}</main></body></html>\n"
    )


def _parts(told: Told) -> Iterator[str]:
    yield _verdict(told)
    yield _schedule(told["schedule"])
    yield _tiles(told)
    yield f'<div class="cards">{"".join(_cards(told))}</div>'


def _verdict(told: Told) -> str:
    verdict = told["verdict"]
    colour, mark = (
        ("ok", "✓") if verdict["is_exact"] else ("bad", "✗") if verdict["violations_count"] else ("open", "?")
    )
    failure = f"<p>{escape(told['failure'])}</p>" if told["failure"] else ""
    return (
        f'<section class="verdict {colour}"><strong>{mark} {escape(verdict["word"])}</strong>'
        f"<p>{escape(verdict['sentence'])}</p>{failure}</section>"
    )


def _schedule(schedule: Told) -> str:
    colour = "card" if schedule["is_kept"] else "open"
    return f'<p class="note {colour}">{escape(schedule["words"])}</p>'


def _tiles(told: Told) -> str:
    tiles = [
        (f"{_number(told, 'verdict.sold')} / {_number(told, 'verdict.units')}", "units sold / there were"),
        (f"{_number(told, 'totals.answered_per_second')}/s", "requests answered"),
        (f"{_number(told, 'seconds')} s", "from the first buyer to the last answer"),
        (f"{_number(told, 'totals.arrived')}", "buyers came"),
    ]
    if "reserve" in told["latency"]:
        tiles[2:2] = [
            (f"{_number(told, 'latency.reserve.p50_ms')} ms", "half of the reserves were answered in"),
            (f"{_number(told, 'latency.reserve.p99_ms')} ms", "99 % of the reserves were answered in"),
        ]
    drawn = "".join(f'<div class="tile"><b>{value}</b><span>{escape(words)}</span></div>' for value, words in tiles[:4])
    return f'<div class="tiles">{drawn}</div>'


def _cards(told: Told) -> Iterator[str]:
    if told["verdict"]["violations"]:
        yield _card("Broken promises", _violations(told["verdict"]))
    slices, width = told["timeline"]["slices"], told["timeline"]["slice_seconds"]
    if slices:
        yield from _courses(slices, width)
    if "reserve" in told["latency"]:
        reserve = told["latency"]["reserve"]
        rows = [
            (name, reserve[f"{key}_ms"], f"{_shown(reserve[f'{key}_ms'])} ms", "blue") for name, key in ALL_PERCENTILES
        ]
        yield _card("Reserve by percentile", bars(rows, "latency of reserves by percentile"))
    outcomes = [
        (name.replace("_", " "), count, _shown(count), RESULT_COLOURS.get(name, "red"))
        for name, count in told["results"].items()
    ]
    yield _card("What became of each try", bars(outcomes, "outcomes of tries"))
    yield _card("Latency in ms", _latency_table(told))
    yield _card("Answers by code", _numbers(told, "codes"))
    yield _card("Checked against the books", _checks(told))
    yield _card("Schedule", _numbers(told, "totals") + _lag(told["schedule"]))
    for title, name in (("Gateway", "gateway"), ("Generator", "machine"), ("Options", "options")):
        yield _card(title, _words(told[name]))


def _courses(slices: Sequence[Told], width: float) -> Iterator[str]:
    def values(name: str, divisor: float = 1.0) -> list[float | None]:
        return [None if one[name] is None else one[name] / divisor for one in slices]

    latency = [
        Series(name, colour, values(f"{name}_ms")) for name, colour in (("p50", "low"), ("p95", "mid"), ("p99", "high"))
    ]
    yield _card("Reserve latency, ms (logarithmic)", lines(latency, width, "ms", is_log=True))
    rates = [
        Series("offered", "orange", values("offered", width)),
        Series("answered", "blue", values("answered", width)),
    ]
    yield _card("Throughput per second: tries due, requests answered", lines(rates, width, "per second"))
    stock = [
        Series("sold", "blue", values("committed")),
        Series("held", "orange", values("held")),
        Series("free", "grey", values("available")),
    ]
    yield _card("The stock running out, units", areas(stock, width, "units"))


def _card(title: str, inner: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2><figure>{inner}</figure></section>'


def _violations(verdict: Told) -> str:
    rows = [
        f"<li><b>{escape(KINDS.get(each['kind'], each['kind']))}</b>: {escape(each['where'])}: {escape(each['detail'])}</li>"
        for each in verdict["violations"][:VIOLATIONS_SHOWN_MAX]
    ]
    more = verdict["violations_count"] - len(rows)
    if more > 0:
        rows.append(f"<li>and {more:,} more</li>")
    return f'<ul class="plain">{"".join(rows)}</ul>'


def _latency_table(told: Told) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "requests", *(name for name, _ in PERCENTILES)))
    rows = "".join(
        f'<tr><th scope="row">{escape(operation.replace("_", " "))}</th>'
        + "".join(
            f"<td>{_number(told, f'latency.{operation}.{key}')}</td>" for key in ("count", *(k for _, k in PERCENTILES))
        )
        + "</tr>"
        for operation in told["latency"]
    )
    return f'<table class="numbers"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _numbers(told: Told, name: str) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(key.replace("_", " "))}</th><td>{_marked(f"{name}.{key}", value)}</td></tr>'
        for key, value in told[name].items()
    )
    return f'<table class="numbers">{rows}</table>'


def _checks(told: Told) -> str:
    verdict = told["verdict"]
    rows: dict[str, object] = {name.replace("_", " "): f"{count:,}" for name, count in verdict["checked"].items()}
    rows["holds"] = f"{verdict['holds']:,}"
    # By our clock alone: a hold that has just ended may still be among them when the books hold nothing any more.
    rows["held at most, by the answers"] = f"{verdict['open_holds']:,}"
    for name in ("lost_holds", "resolved", "unknown"):
        rows[name.replace("_", " ")] = f"{verdict[name]:,}"
    rows |= {f"not checked ({number})": words for number, words in enumerate(verdict["not_checked"], 1)}
    cleanup = told["cleanup"]
    if cleanup is None:
        rows["cleaned up"] = "no, it was to be kept"
    else:
        rows["cleaned up"] = (
            f"{cleanup['released']:,} reservations released, {cleanup['paused']:,} skus paused and set to 0"
        )
        rows |= {f"not cleaned up ({number})": words for number, words in enumerate(cleanup["failures"], 1)}
    return _words(rows)


def _lag(schedule: Told) -> str:
    rows: dict[str, object] = {"loop": schedule["mode"], "rate": f"{schedule['rate_offered_per_second']:,} buyers/s"}
    if schedule["rate_wanted_per_second"] is not None:
        rows["rate wanted"] = f"{schedule['rate_wanted_per_second']:,} buyers/s"
    for name in ("send_lag", "loop_lag"):
        if schedule[name] is not None:
            rows[f"{name.replace('_', ' ')}, ms"] = ", ".join(
                f"{key} {_shown(schedule[name][f'{key}_ms'])}" for key in ("p50", "p99", "max")
            )
    return _words(rows)


def _words(rows: Mapping[str, object]) -> str:
    drawn = "".join(
        f'<tr><th scope="row">{escape(str(name).replace("_", " "))}</th><td>{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table>{drawn}</table>"


def _number(told: Told, path: str) -> str:
    """The number at this path of the JSON report, as `_marked`."""
    value: Any = told
    for name in path.split("."):
        value = value[name]
    return _marked(path, value)


def _marked(path: str, value: float) -> str:
    """The number for people, with the exact one and its place in the JSON report beside it for machines."""
    return f'<data value="{value}" data-json="{escape(path)}">{_shown(value)}</data>'


def _shown(value: float) -> str:
    """As many digits as are worth reading."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"
