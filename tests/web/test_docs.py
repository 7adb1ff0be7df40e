"""The pages: everything comes from the gateway, and no script stands within a page."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from gateway.domain.errors import all_errors
from gateway.web.docs import ASSETS
from gateway.web.problems import STATUS_OF_CODE
from tests.web.conftest import Gateway


@pytest.mark.parametrize("path", ["/docs", "/docs/errors"])
async def test_page_loads_nothing_from_elsewhere(gateway: Gateway, path: str) -> None:
    """Only assets of ours, no inline script, a policy that holds the browser to it."""
    reply = await gateway.ask("GET", path)

    page = reply.raw.decode()
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"\son[a-z]+=", page)
    for link in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert link.startswith(("/docs/", "/openapi.json", "data:"))
        if link.startswith("/"):
            assert (await gateway.ask("GET", link)).status == 200


@pytest.mark.parametrize("path", ["/docs", "/docs/errors"])
async def test_page_is_laid_out_for_the_width_of_a_phone(gateway: Gateway, path: str) -> None:
    """A page that does not say so is laid out 980 pixels wide and shrunk, with letters nobody can read."""
    page = (await gateway.ask("GET", path)).raw.decode()

    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page


async def test_page_of_errors_marks_names_as_code(gateway: Gateway) -> None:
    """Names stand between the tags of code, not between the backticks of the docstring that they come from."""
    page = (await gateway.ask("GET", "/docs/errors")).raw.decode()

    assert "`" not in page
    assert "<code>shortages</code> tells every short line" in page


@pytest.mark.parametrize("name", sorted(ASSETS))
async def test_asset_is_served_with_its_type(gateway: Gateway, name: str) -> None:
    """Whole, typed, and kept by browsers for a while."""
    reply = await gateway.ask("GET", f"/docs/{name}")

    assert reply.status == 200
    assert reply.headers["Content-Type"] == ASSETS[name]
    assert reply.headers["Cache-Control"] == "public, max-age=3600"
    assert len(reply.raw) > 100


@pytest.mark.parametrize("name", ["..%2Froutes.py", "%2e%2e%2fsite.py", "README.md", "swagger-ui.LICENSE", "x" * 500])
async def test_other_files_are_not_served(gateway: Gateway, name: str) -> None:
    """Only the named assets, whatever stands in the folder."""
    reply = await gateway.ask("GET", f"/docs/{name}")

    assert (reply.status, reply.body["code"]) == (404, "not_found")


async def test_every_error_code_has_its_anchor(gateway: Gateway) -> None:
    """`type` of every problem leads somewhere."""
    page = (await gateway.ask("GET", "/docs/errors")).raw.decode()

    assert sorted(re.findall(r'<tr id="([a-z_]+)"', page)) == sorted(STATUS_OF_CODE)


async def test_every_error_code_is_told_with_the_meaning_of_the_readme(gateway: Gateway) -> None:
    """README, the page of errors and the problems themselves say the same of a code, also of `internal_error`."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| [0-9]{3} \| `([a-z_]+)` \| ([^|]+) \|$", readme, re.MULTILINE))
    page = (await gateway.ask("GET", "/docs/errors")).raw.decode()
    shown = {
        code: unescape(re.sub("</?code>", "`", told))
        for code, told in re.findall(r'<tr id="([a-z_]+)">.*?<td>\d+</td><td>(.*?)</td>', page)
    }
    titles: dict[str, str] = {}
    for error in all_errors():
        titles.setdefault(error.code, error.title())

    assert titles == listed
    assert {code: told for code, told in shown.items() if not told.startswith(listed[code])} == {}
    assert "law of the books" in shown["internal_error"]
