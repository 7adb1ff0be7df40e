"""Plots as SVG, drawn here so that a report needs no network and no script.

Colours are classes of page.css, which has a light and a dark set. Coordinates are for a phone's width; a plot grows with its column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 40, 6, 12, 26
BAR_HEIGHT, BAR_LEFT, BAR_RIGHT = 26, 96, 66

#: Values over time; None where there is none.
Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """A named run of values, one per slice; `colour` is a class of page.css."""

    name: str
    colour: str
    values: Values


@dataclass(frozen=True, slots=True)
class Frame:
    """Where values lie in a plot: `y` from the bottom up, `ticks` its labelled values, `seconds` the length of the x axis."""

    seconds: float
    ticks: Sequence[float]
    y: Callable[[float], float]

    def x(self, at_seconds: float) -> float:
        """The x of a moment."""
        return LEFT + (WIDTH - LEFT - RIGHT) * at_seconds / self.seconds


def lines(series: Sequence[Series], slice_seconds: float, unit: str, *, is_log: bool = False) -> str:
    """One line per series over time."""
    frame = _frame(
        [value for one in series for value in one.values if value], len(series[0].values), slice_seconds, is_log
    )
    drawn = [f'<path class="line {one.colour}" d="{_path(one.values, frame, slice_seconds)}"/>' for one in series]
    return _plot(series, frame, slice_seconds, unit, drawn)


def areas(series: Sequence[Series], slice_seconds: float, unit: str) -> str:
    """The series stacked, the first at the bottom; a slice without values reads as the one before it."""
    filled = [_filled(one.values) for one in series]
    tops: list[list[float]] = []
    for values in filled:
        below = tops[-1] if tops else [0.0] * len(values)
        tops.append([low + high for low, high in zip(below, values, strict=True)])
    frame = _frame(tops[-1], len(tops[-1]), slice_seconds, False)
    drawn = []
    for one, top, below in zip(series, tops, [[0.0] * len(tops[0]), *tops[:-1]], strict=True):
        points = [_point(frame, n, value, slice_seconds) for n, value in enumerate(top)]
        points += [_point(frame, n, value, slice_seconds) for n, value in reversed(list(enumerate(below)))]
        drawn.append(f'<polygon class="area {one.colour}" points="{" ".join(points)}"/>')
    told = [Series(one.name, one.colour, values) for one, values in zip(series, filled, strict=True)]
    return _plot(told, frame, slice_seconds, unit, drawn)


def bars(rows: Sequence[tuple[str, float, str, str]], label: str) -> str:
    """Horizontal bars: (name, value, the value in words, colour), from the top down."""
    most = max((value for _, value, _, _ in rows), default=0) or 1
    height = BAR_HEIGHT * len(rows)
    drawn = []
    for number, (name, value, words, colour) in enumerate(rows):
        y, width = number * BAR_HEIGHT, (WIDTH - BAR_LEFT - BAR_RIGHT) * value / most
        middle = y + BAR_HEIGHT / 2 + 4
        drawn.append(
            f'<text class="label" x="{BAR_LEFT - 8}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="bar {colour}" x="{BAR_LEFT}" y="{y + 5}" width="{max(width, 1):.1f}" height="{BAR_HEIGHT - 10}" rx="3"/>'
            f'<text class="value" x="{BAR_LEFT + max(width, 1) + 6:.1f}" y="{middle:.1f}">{escape(words)}</text>'
        )
    return f'<svg viewBox="0 0 {WIDTH} {max(height, 1)}" role="img" aria-label="{escape(label)}">{"".join(drawn)}</svg>'


def _plot(series: Sequence[Series], frame: Frame, slice_seconds: float, unit: str, drawn: list[str]) -> str:
    grid = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{frame.y(tick):.1f}" y2="{frame.y(tick):.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{frame.y(tick) + 4:.1f}" text-anchor="end">{_short(tick)}</text>'
        for tick in frame.ticks
    )
    grid += "".join(
        f'<text class="tick" x="{frame.x(at):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{_short(at)} s</text>'
        for at, anchor in ((0.0, "start"), (frame.seconds / 2, "middle"), (frame.seconds, "end"))
    )
    names = ", ".join(one.name for one in series)
    label = f"{names} over time, {unit}"
    legend = "".join(f'<li><i class="{one.colour}"></i>{escape(one.name)}</li>' for one in series)
    return (
        f'<ul class="legend">{legend}</ul>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{grid}{''.join(drawn)}{_hovers(series, frame, slice_seconds, unit)}</svg>"
    )


def _hovers(series: Sequence[Series], frame: Frame, slice_seconds: float, unit: str) -> str:
    """An unseen column over each slice, whose title a browser shows under the pointer."""
    width = frame.x(slice_seconds) - frame.x(0.0)
    columns = []
    for number in range(len(series[0].values)):
        told = [f"{one.name} {value:,.6g} {unit}" for one in series if (value := one.values[number]) is not None]
        if told:
            words = escape(f"{number * slice_seconds:g} s: {', '.join(told)}")
            columns.append(
                f'<rect class="hover" x="{frame.x(number * slice_seconds):.1f}" y="{TOP}" width="{width:.1f}" '
                f'height="{HEIGHT - TOP - BOTTOM}"><title>{words}</title></rect>'
            )
    return "".join(columns)


def _frame(values: Sequence[float], slices: int, slice_seconds: float, is_log: bool) -> Frame:
    seconds = max(slices, 1) * slice_seconds
    most, least = max(values, default=1.0) or 1.0, min((value for value in values if value > 0), default=1.0)
    height = HEIGHT - TOP - BOTTOM
    if not is_log:
        ticks = _ticks(most)
        return Frame(seconds, ticks, lambda value: HEIGHT - BOTTOM - height * value / ticks[-1])
    low = math.floor(math.log10(least))
    high = max(math.ceil(math.log10(most)), low + 1)

    def y(value: float) -> float:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return HEIGHT - BOTTOM - height * share

    return Frame(seconds, [10.0**power for power in range(low, high + 1)], y)


def _ticks(most: float) -> list[float]:
    """From 0 in round steps to the first one that is not below `most`: four to six of them."""
    raw = most / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def _path(values: Values, frame: Frame, slice_seconds: float) -> str:
    """Moves and lines; a slice without a value breaks the line."""
    parts, is_open = [], False
    for number, value in enumerate(values):
        if value is None:
            is_open = False
            continue
        parts.append(f"{'L' if is_open else 'M'}{_point(frame, number, value, slice_seconds)}")
        if not is_open:
            # A value alone between gaps would draw nothing: the smallest line shows it as a dot.
            parts.append("h.1")
        is_open = True
    return "".join(parts)


def _point(frame: Frame, number: int, value: float, slice_seconds: float) -> str:
    """In the middle of its slice."""
    return f"{frame.x((number + 0.5) * slice_seconds):.1f},{frame.y(value):.1f}"


def _filled(values: Values) -> list[float]:
    filled: list[float] = []
    first = next((value for value in values if value is not None), 0.0)
    for value in values:
        filled.append(value if value is not None else (filled[-1] if filled else first))
    return filled


def _short(value: float) -> str:
    """A number on an axis: 1200000 is 1.2M, 0.25 stays."""
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{letter}"
    return f"{value:.3g}"
