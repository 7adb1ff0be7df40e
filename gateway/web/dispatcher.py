"""From a request to its answer: route, principal, handler, and whatever went wrong on the way as a problem."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Final

import structlog
from aiohttp import web
from multidict import istr
from structlog.contextvars import STRUCTLOG_KEY_PREFIX

from gateway.domain.errors import Forbidden, GatewayError, HeadersTooLarge, MalformedRequest, Overloaded, RequestTimeout
from gateway.loop import is_cancelled
from gateway.metrics import RouteMetrics
from gateway.web.auth import NOBODY, Principal
from gateway.web.exchange import Exchange
from gateway.web.fields import is_request_id
from gateway.web.route import Route
from gateway.web.router import Found, Router
from gateway.web.site import Site
from gateway.web.wire import Answer

log = structlog.get_logger("gateway.web")

AUTHORIZATION: Final = istr("Authorization")
REQUEST_ID: Final = istr("X-Request-Id")

# What `bind_contextvars(request_id=…)` would find or make, at a tenth of its time: every log line of a request carries it.
_request_id: Final[ContextVar[str]] = ContextVar(f"{STRUCTLOG_KEY_PREFIX}request_id")


class RequestIds:
    """Ids that no other process makes: a random part of this one, and a count."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._count = itertools.count(1)

    def __call__(self) -> str:
        """The next id."""
        return f"{self._prefix}-{next(self._count):x}"


class Dispatcher:
    """What aiohttp calls for every request. It has no middleware: each step costs each request."""

    def __init__(self, site: Site, routes: Iterable[Route]) -> None:
        """`routes` is the whole table."""
        table = tuple(routes)
        self._site = site
        router = Router(table)
        self._find = router.find
        #: What is known of a request that has a short way, or None.
        self.short_way = router.begun
        self._metrics = {id(route): RouteMetrics(route.path, route.method) for route in table}
        self._unmatched = RouteMetrics("unmatched", "any")
        self.next_request_id = RequestIds()

    def begin(self, found: Found, request: web.BaseRequest, ended: Callable[[Answer | None], None]) -> bool:
        """Whether the request is under way by its `short_way`: `ended` is then told its answer, later and once.

        False, or `ended(None)`, and nothing was done: `__call__` is to be asked, which also says what is wrong with it.
        """
        route, path, query = found
        if route.begin is None:
            return False
        site, begun = self._site, _Begun(self, route, request, ended)
        is_begun = False
        site.requests_in_flight += 1
        try:
            exchange = self._exchange(request, begun.request_id, begun.started_s, route, path, query)
            is_begun = route.begin(site, exchange, begun.end)
        except GatewayError:
            pass  # the long way finds it again, and says it
        finally:
            site.requests_in_flight -= not is_begun
        return is_begun

    async def __call__(self, request: web.BaseRequest) -> Answer:
        """The answer, whatever happens; only the cancellation of this very task passes through."""
        started_s = time.monotonic()
        site = self._site
        request_id = self._id_of(request)
        _request_id.set(request_id)
        metrics = self._unmatched
        site.requests_in_flight += 1
        try:
            if not request.keep_alive and request.version < (1, 0):
                # HTTP/0.9 has no headers and no end; aiohttp's parser lets it pass.
                raise MalformedRequest
            route, path, query = self._find(request.method, request.raw_path)
            metrics = self._metrics[id(route)]
            exchange = self._exchange(request, request_id, started_s, route, path, query)
            answer = await route.handler(site, exchange)
        except GatewayError as error:
            answer = site.problems.answer(error, request_id)
            # Nothing more is read from a client that was too slow, or whose body has lost its framing.
            answer.is_cut = isinstance(error, RequestTimeout) or request.content.exception() is not None
        except (Exception, asyncio.CancelledError):
            if is_cancelled():
                # The connection is being closed. Otherwise something below was cancelled, and this request wants its answer.
                raise
            log.exception("handler_failed", method=request.method)
            answer = site.problems.answer(_fault_of_ours(), request_id)
        finally:
            site.requests_in_flight -= 1
        self._complete(answer, request_id, metrics, started_s)
        return answer

    def _exchange(
        self,
        request: web.BaseRequest,
        request_id: str,
        started_s: float,
        route: Route,
        path: tuple[str, ...],
        query: str,
    ) -> Exchange:
        """The request with its principal and its query. Raises as `_admit`."""
        exchange = Exchange(request, request_id, started_s, route, path, self._admit(route, request))
        if query and route.query is not None:
            exchange.read_query(query)
        return exchange

    def _id_of(self, request: web.BaseRequest) -> str:
        """The request's own id, where it brought a proper one."""
        given = request.headers.get(REQUEST_ID)
        return given if given is not None and is_request_id(given) else self.next_request_id()

    def _complete(self, answer: Answer, request_id: str, metrics: RouteMetrics, started_s: float) -> None:
        """What all answers have in common; it is counted."""
        site = self._site
        answer.request_id = request_id
        answer.write_timeout_ms = site.limits.write_timeout_ms
        if site.is_draining or answer.is_cut:
            answer.force_close()
        metrics.answered(answer.status, time.monotonic() - started_s)

    def _admit(self, route: Route, request: web.BaseRequest) -> Principal:
        """Who is asking, and may.

        Raises:
            HeadersTooLarge, Unauthenticated, Forbidden, Overloaded: in this order, the first that applies.
        """
        site = self._site
        if getattr(request.protocol, "is_head_long", False):
            _refuse_long_head(request, site.limits.header_bytes_max)
        if route.scope is None:
            # Health checks still get through when there is no room for work.
            return NOBODY
        principal = site.authenticate(request.headers.get(AUTHORIZATION))
        if route.scope not in principal.scopes:
            raise Forbidden
        if site.requests_in_flight > site.limits.requests_max:
            raise Overloaded
        return principal


class _Begun:
    """A request that is answered without a task."""

    __slots__ = ("_dispatcher", "_ended", "_metrics", "request_id", "started_s")

    def __init__(
        self,
        dispatcher: Dispatcher,
        route: Route,
        request: web.BaseRequest,
        ended: Callable[[Answer | None], None],
    ) -> None:
        self.started_s = time.monotonic()
        self.request_id = dispatcher._id_of(request)
        self._dispatcher = dispatcher
        self._metrics = dispatcher._metrics[id(route)]
        self._ended = ended

    def end(self, outcome: Callable[[], Answer] | GatewayError | None) -> None:
        """The outcome is told as an answer."""
        dispatcher = self._dispatcher
        dispatcher._site.requests_in_flight -= 1
        if outcome is None:
            self._ended(None)
            return
        problems = dispatcher._site.problems
        try:
            answer = problems.answer(outcome, self.request_id) if isinstance(outcome, GatewayError) else outcome()
        except Exception:
            log.exception("handler_failed", request_id=self.request_id)
            answer = problems.answer(_fault_of_ours(), self.request_id)
        dispatcher._complete(answer, self.request_id, self._metrics, self.started_s)
        self._ended(answer)


def _fault_of_ours() -> GatewayError:
    """The last line of defence: what went wrong is told without its inner life, which goes to the log."""
    return GatewayError("The gateway failed; its log has more under this request id", outcome="unknown")


def _refuse_long_head(request: web.BaseRequest, bytes_max: int) -> None:
    taken = len(request.raw_path) + sum(len(name) + len(value) for name, value in request.raw_headers)
    if taken > bytes_max:
        raise HeadersTooLarge
