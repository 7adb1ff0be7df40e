"""Pages to read the contract: the API itself, and what each error code means. All parts come from this gateway."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

from gateway.domain.errors import NotFound, all_errors
from gateway.web.exchange import Exchange
from gateway.web.problems import STATUS_OF_CODE
from gateway.web.site import Site
from gateway.web.wire import Answer

HTML: Final = "text/html; charset=utf-8"

#: Swagger UI sets styles on elements, which needs 'unsafe-inline' for styles; no script may come from anywhere but here.
POLICY: Final = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"
    b"Referrer-Policy: no-referrer\r\n"
)
CACHED: Final = b"Cache-Control: public, max-age=3600\r\n"

ASSETS: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}
_STATIC: Final = Path(__file__).parent / "static"

_PAGE: Final = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Reservation Gateway: API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="reader"><noscript>This page needs JavaScript; the document is at <a href="/openapi.json">/openapi.json</a>.</noscript></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""


async def page(_site: Site, _exchange: Exchange) -> Answer:
    """The page that shows the OpenAPI document and tries its calls."""
    return Answer(200, _PAGE, media=HTML, headers=POLICY)


async def asset(_site: Site, exchange: Exchange) -> Answer:
    """A file of the pages."""
    name = exchange.path[0]
    if name not in ASSETS:
        raise NotFound
    return Answer(200, _file(name), media=ASSETS[name], headers=CACHED)


async def errors(_site: Site, _exchange: Exchange) -> Answer:
    """The page that `type` of every problem points at."""
    return Answer(200, _errors_page(), media=HTML, headers=POLICY)


@cache
def _file(name: str) -> bytes:
    # Read once per process, when somebody first looks; the largest takes 2 ms.
    return (_STATIC / name).read_bytes()


@cache
def _errors_page() -> bytes:
    rows = []
    told: set[str] = set()
    for error in all_errors():
        if error.code in told or error.code not in STATUS_OF_CODE:
            continue
        told.add(error.code)
        outcomes = sorted({each.outcome for each in all_errors() if each.code == error.code})
        _, _, more = (error.__doc__ or "").strip().partition("\n")
        rows.append(
            f'<tr id="{error.code}"><td><code>{error.code}</code></td><td>{STATUS_OF_CODE[error.code]}</td>'
            f"<td>{_marked_up(f'{error.title()}. {more}')}</td>"
            f"<td>{' or '.join(outcomes)}</td></tr>"
        )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>Reservation Gateway: errors</title>\n"
        '<link rel="icon" href="data:,">\n<link rel="stylesheet" href="/docs/page.css">\n</head>\n<body>\n'
        "<h1>Errors</h1>\n<p>Every error is an RFC 9457 problem. <code>code</code> is stable. <code>outcome</code> says "
        "whether anything happened: the usual one is given here, the problem itself tells the one that counts.</p>\n"
        "<table>\n<thead><tr><th>code</th><th>status</th><th>meaning</th><th>outcome</th></tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody>\n</table>\n</body>\n</html>\n"
    ).encode()


def _marked_up(words: str) -> str:
    """Words of a docstring as HTML: one line, with its names in backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(" ".join(words.split())))
