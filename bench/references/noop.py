"""The no-op: what aiohttp itself costs. It reads the body and answers a constant as long as the gateway's.

Run as a program: `python -m bench.references.noop PORT POST_ANSWER_FILE GET_ANSWER_FILE`. Nothing is parsed,
judged, stored or packed, so no service on aiohttp's application server can be faster; the ratio says how much
of that a service keeps.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aiohttp import web

from bench.references.serving import healthz, serve


def application(post_answer: bytes, get_answer: bytes) -> web.Application:
    """The same routes as the gateway's, with nothing behind them."""

    async def reserve(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=201, body=post_answer, content_type="application/json")

    async def stock(request: web.Request) -> web.Response:
        return web.Response(body=get_answer, content_type="application/json")

    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/reservations", reserve),
            web.get("/v1/stock/{sku}", stock),
            web.get("/healthz", healthz),
        ]
    )
    return app


def main(words: list[str]) -> None:
    """Served until SIGTERM."""
    port, post_answer, get_answer = words
    serve(application(Path(post_answer).read_bytes(), Path(get_answer).read_bytes()), int(port))


if __name__ == "__main__":
    main(sys.argv[1:])
