"""The report for people: it says what the one for machines says, stands alone, and nothing in it is taken for markup."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from gateway.cli.sale.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Series, areas, bars, lines
from gateway.cli.sale.figures import Figures
from gateway.cli.sale.goods import Cleared
from gateway.cli.sale.page import page
from gateway.cli.sale.result import Result
from gateway.cli.sale.timeline import StockSample
from gateway.cli.sale.verdict import Verdict
from tests.cli.selling import PLAN

HOSTILE = "<script>alert(1)</script>\"'&amp;[b]</style>"
VOID = {"meta"}


class Tree(HTMLParser):
    """Every element is closed in its order; what the page holds is collected."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.numbers: dict[str, str] = {}
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attrs)
        if tag == "data":
            self.numbers[str(found["data-json"])] = str(found["value"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> Tree:
    tree = Tree()
    tree.feed(html)
    tree.close()
    assert tree.open == []
    return tree


def drawing(text: str) -> ElementTree.Element:
    """The drawing, which is well-formed."""
    return ElementTree.fromstring(f"<x>{text}</x>")  # noqa: S314 - it is our own


def result(**changes: Any) -> Result:
    """A sale of a second, without a gateway."""
    now = 0.0
    figures = Figures(0.0, lambda: now)
    for number in range(50):
        now = number / 50 + 0.004
        figures.due(number / 50)
        figures.took("reserve", "" if number < 20 else "out_of_stock", number / 50)
        figures.ended("sold" if number < 20 else "sold_out")
        figures.read(StockSample(max(0, 20 - number), 0, min(20, number)))
    verdict = Verdict(20, sold=20, committed=20, is_known=True, checked={"levels": 2})
    made = Result(
        PLAN, "2026-11-21T10:00:00.000Z", 1.0, figures, verdict, {"system": "Linux"}, {"version": "1"}, Cleared()
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def at(told: Any, path: str) -> Any:
    for name in path.split("."):
        told = told[name]
    return told


def test_page_says_the_numbers_of_the_json() -> None:
    """Every number on it names its place in the JSON report and equals what stands there; the important ones are on it."""
    told = json.loads(json.dumps(result().as_json()))
    tree = parsed(page(told))

    assert {path: float(value) for path, value in tree.numbers.items()} == {
        path: float(at(told, path)) for path in tree.numbers
    }
    assert {"verdict.sold", "verdict.units", "totals.answered_per_second"} <= set(tree.numbers)
    assert {f"latency.reserve.{name}" for name in ("count", "p50_ms", "p95_ms", "p99_ms", "max_ms")} <= set(
        tree.numbers
    )
    assert {f"codes.{code}" for code in told["codes"]} <= set(tree.numbers)
    assert told["verdict"]["sentence"] in tree.text
    assert told["schedule"]["words"] in tree.text


def test_report_tells_no_secret() -> None:
    """Neither the API key nor a login in the address is in either form."""
    plan = replace(PLAN, url="https://me:hush@shop.example:8443/api")
    told = result(plan=plan).as_json()
    both = json.dumps(told) + page(told)

    assert told["options"]["url"] == "https://shop.example:8443/api"
    assert "hush" not in both
    assert PLAN.key not in both


def test_page_stands_alone() -> None:
    """No script, no address, nothing to load: it opens from an e-mail in ten years."""
    html = page(result().as_json())
    tree = parsed(html)

    assert not {"script", "link", "img", "iframe", "object", "a"} & set(tree.tags)
    assert not [name for name, _ in tree.attributes if name in ("src", "href") or name.startswith("on")]
    assert not re.search(r"https?:|url\(|@import", html.replace(PLAN.url or "no url", ""))
    assert tree.tags["svg"] == 5
    assert ("name", "viewport") in tree.attributes
    assert len(html) < 200_000


def test_page_escapes_every_value_that_others_chose() -> None:
    """Names of shops, codes, versions, violations: markup in them is text."""
    told = result().as_json()
    told["run"] = told["began_at"] = told["failure"] = HOSTILE
    told["verdict"] |= {
        "violations": [{"kind": HOSTILE, "where": HOSTILE, "detail": HOSTILE}], "violations_count": 1, "is_exact": False,
        "sentence": HOSTILE, "word": HOSTILE, "not_checked": [HOSTILE], "checked": {HOSTILE: 1},
    }  # fmt: skip
    told["codes"] = {HOSTILE: 3}
    told["results"] = {HOSTILE: 3}
    told["schedule"]["words"] = told["schedule"]["mode"] = HOSTILE
    told["cleanup"] = {"released": 1, "paused": 1, "failures": [HOSTILE]}
    for name in ("options", "machine", "gateway"):
        told[name] = {HOSTILE: HOSTILE}
    tree = parsed(page(told))

    assert tree.tags["script"] == 0
    assert tree.tags["style"] == 1
    assert tree.text.count("<script>alert(1)</script>") >= 15


@pytest.mark.parametrize(("is_known", "count", "colour"), [(True, 0, "ok"), (True, 3, "bad"), (False, 0, "open")])
def test_page_shows_the_verdict_by_colour_and_word(is_known: bool, count: int, colour: str) -> None:
    """Exact, not exact, not known: each has its own."""
    verdict = Verdict(20, sold=20, is_known=is_known)
    for number in range(count):
        verdict.add("oversold", f"sku {number}", "21 of 20")
    tree = parsed(page(result(verdict=verdict).as_json()))

    assert ("class", f"verdict {colour}") in tree.attributes
    assert verdict.word in tree.text
    assert tree.text.count("21 of 20") == count


def test_page_gives_each_row_a_name_of_its_own() -> None:
    """No table has two rows of one name, and what the answers leave open is not named like what the books say is held."""
    verdict = Verdict(20, sold=19, is_known=True, open_holds=1, held=0)
    html = page(result(verdict=verdict).as_json())
    cards = [re.findall(r'<th scope="row">([^<]+)</th>', card) for card in html.split('<section class="card">')]

    assert [names for names in cards if len(set(names)) < len(names)] == []
    assert '<th scope="row">held at most, by the answers</th><td>1</td>' in html


def test_page_of_a_sale_to_which_nobody_came_is_still_one() -> None:
    """No latency, no outcome, no slice: nothing is divided by nothing."""
    empty = result(figures=Figures(0.0), seconds=0.0, cleared=None, verdict=Verdict(20))

    assert "not known" in parsed(page(empty.as_json())).text


def test_charts_draw_what_they_are_given() -> None:
    """Points lie inside the frame, a gap breaks the line, stacked areas end at the sum; each is well-formed."""
    one = Series("a<b", "blue", [1.0, None, 1_000.0, 10.0])
    drawn = drawing(lines([one], 1.0, "ms", is_log=True))
    stacked = drawing(areas([Series("a", "blue", [5, None]), Series("b", "grey", [15, 0])], 1.0, "units"))
    path = drawn.find(".//path")
    polygons = stacked.findall(".//polygon")
    assert path is not None
    numbers = [float(number) for number in re.findall(r"[\d.]+", path.attrib["d"].replace("h.1", ""))]
    upper = [tuple(map(float, point.split(","))) for point in polygons[1].attrib["points"].split()]

    assert path.attrib["d"].count("M") == 2
    assert all(LEFT <= x <= WIDTH - RIGHT for x in numbers[::2])
    assert all(TOP <= y <= HEIGHT - BOTTOM for y in numbers[1::2])
    assert numbers[1] == HEIGHT - BOTTOM
    assert numbers[3] == TOP
    assert upper[0][1] == TOP
    assert upper[1][1] == upper[2][1] == pytest.approx(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) / 4)
    assert drawn.find(".//title") is not None


def test_charts_bars_are_as_long_as_their_values() -> None:
    """Half the value is half the length; nothing at all is no error."""
    drawn = drawing(bars([("one", 10.0, "10", "blue"), ("<two>", 5.0, "5", "red")], "label"))
    widths = [float(bar.attrib["width"]) for bar in drawn.findall(".//rect")]

    assert widths[0] == 2 * widths[1]
    assert "<svg" in bars([], "nothing")
