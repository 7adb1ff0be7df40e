"""The HTTP side, put together: an application for aiohttp, and the runner that serves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from gateway import __version__
from gateway.domain.policy import Policy
from gateway.web.auth import authenticator
from gateway.web.dispatcher import Dispatcher
from gateway.web.limits import HttpLimits
from gateway.web.openapi import document
from gateway.web.problems import Problems
from gateway.web.rendering import to_json
from gateway.web.routes import ROUTES
from gateway.web.server import Server
from gateway.web.site import Services, Site

SITE: Final = web.AppKey("site", Site)
DISPATCHER: Final = web.AppKey("dispatcher", Dispatcher)


def build_application(
    services: Services,
    policy: Callable[[], Policy],
    limits: HttpLimits | None = None,
    *,
    bootstrap_key: str | None = None,
    public_url: str = "",
) -> web.Application:
    """An application that answers every route of the contract.

    It has a single aiohttp resource, for every path and method: routing, refusing and answering are the dispatcher's, which
    costs a third of aiohttp's own router and middlewares. The application carries the life cycle (`on_startup`, `on_cleanup`).
    `policy` is called for each hold and gives the one in force. `bootstrap_key` None or empty lets everybody in.
    """
    site = Site(
        services,
        policy,
        limits or HttpLimits(),
        authenticator(bootstrap_key),
        Problems(public_url),
        to_json(document(ROUTES, __version__)),
    )
    application = web.Application()
    dispatcher = Dispatcher(site, ROUTES)
    application[SITE] = site
    application[DISPATCHER] = dispatcher
    application.router.add_route("*", "/{path:.*}", dispatcher.__call__)
    return application


class GatewayRunner(web.BaseRunner):
    """Serves the application with our own connections: add sites to it as to any aiohttp runner.

    `cleanup` stops accepting, lets requests in flight end for `drain_timeout_ms`, then closes what is left. Call `drain` before:
    load balancers need a moment to see it.
    """

    __slots__ = ("_application", "_dispatcher", "_site")

    def __init__(self, application: web.Application) -> None:
        """`application` is one of `build_application`."""
        self._application = application
        self._site = application[SITE]
        self._dispatcher = application[DISPATCHER]
        super().__init__(shutdown_timeout=self._site.limits.drain_timeout_ms / 1000)

    def drain(self) -> None:
        """From now on `/readyz` answers 503 and every answer closes its connection. Safe to repeat."""
        self._site.is_draining = True

    async def shutdown(self) -> None:
        """The application's `on_shutdown` has run."""
        await self._application.shutdown()

    async def _make_server(self) -> web.Server:
        self._application.on_startup.freeze()
        await self._application.startup()
        self._application.freeze()
        site, dispatcher = self._site, self._dispatcher
        return Server(dispatcher, site.limits, site.problems, dispatcher.next_request_id)

    async def _cleanup_server(self) -> None:
        await self._application.cleanup()
