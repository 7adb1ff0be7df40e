"""How every reference serves: aiohttp on uvloop where it is installed, one process, no access log."""

from __future__ import annotations

import asyncio

from aiohttp import web


async def healthz(request: web.Request) -> web.Response:
    """200 while the process lives."""
    return web.Response()


def serve(application: web.Application, port: int) -> None:
    """The application was served on 127.0.0.1 until SIGTERM."""
    web.run_app(application, host="127.0.0.1", port=port, print=None, access_log=None, loop=_new_loop())


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
