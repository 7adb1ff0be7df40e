"""Connections: what is not even a request is answered as a problem too, and nobody may take for ever to become one.

This file and `direct.py` lean on aiohttp's inner life (`_waiter`, `_messages`, `_current_request`), because aiohttp
offers no other way to answer a head that never ends. Their tests speak raw HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from gateway.domain.errors import GatewayError, HeadersTooLarge, MalformedRequest, RequestTimeout
from gateway.metrics import RouteMetrics
from gateway.web.limits import HttpLimits
from gateway.web.problems import STATUS_OF_CODE, Problems
from gateway.web.refusal import REFUSAL_S_MAX
from gateway.web.wire import Answer

log = structlog.get_logger("gateway.web")

LAST_WAIT_S: Final = 0.5  # what a handler may take to end once it was told that its time is over
_TOO_MANY: Final = "Too many headers received"
#: Counts what never became a request.
unmatched: Final = RouteMetrics("unmatched", "any")


class Connection(web.RequestHandler):
    """One client connection."""

    __slots__ = ("_head_bytes", "_head_timer", "_is_new", "_limits", "_next_request_id", "_problems", "is_head_long")

    def __init__(
        self,
        server: web.Server,
        limits: HttpLimits,
        problems: Problems,
        next_request_id: Callable[[], str],
        **settings: Any,
    ) -> None:
        """`settings` are aiohttp's own."""
        super().__init__(server, **settings)
        self._limits = limits
        self._problems = problems
        self._next_request_id = next_request_id
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._is_new = True  # the handler has not had a turn yet, and no request has come
        #: Some head on this connection may be over the bound; the dispatcher then counts exactly.
        self.is_head_long = False

    def data_received(self, data: bytes) -> None:
        """Bytes go to the parser; a head that has begun gets its time and its bound. Behind the last answer they are dropped."""
        if self._force_close:
            return
        if self._head_bytes + len(data) > self._limits.header_bytes_max:
            self.is_head_long = True
        super().data_received(data)
        waiter = self._waiter
        if self._is_new and (waiter is not None or self._messages):
            self._is_new = False
        if self._is_new or (waiter is not None and not waiter.done()):
            # The handler still waits for a request although bytes came, or has not even begun to: they are the beginning of a head.
            self._head_goes_on(len(data))
            return
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self._current_request is not None and self._messages:
            self._end_broken_body(self._current_request)

    def close(self) -> None:
        """No further request is taken. One that has come goes on: aiohttp would drop the rest of its body, and let it wait for that."""
        if not self._request_in_progress and not self._messages:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """The request under way has its answer, or `timeout` seconds are over; then the connection is closed.

        aiohttp stops reading before it waits, so a body that was still on its way would never arrive.
        """
        if self._request_in_progress:
            self._handler_waiter = self._loop.create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._handler_waiter
            except TimeoutError:
                self._handler_waiter = None
        await super().shutdown(LAST_WAIT_S)

    def _head_goes_on(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self._limits.header_bytes_max:
            self._refuse(HeadersTooLarge())
        elif count and self._head_timer is None:
            seconds = self._limits.header_timeout_ms / 1000
            self._head_timer = self._loop.call_later(seconds, self._refuse, RequestTimeout())

    def _end_broken_body(self, request: web.BaseRequest) -> None:
        """The reader of a body with a broken chunk learns of it; aiohttp queues a 400 but lets that reader wait on."""
        latest, _ = self._messages[-1]
        if not isinstance(latest, RawRequestMessage) and not request.content.is_eof():
            request.content.set_exception(web.RequestPayloadError("broken framing"))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing of the connection is left."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().connection_lost(exc)

    def _refuse(self, error: GatewayError) -> None:
        """The client is told why, and the connection is closed: there is no request to answer."""
        answer = self._problem(error)
        if self.transport is not None:
            self.transport.write(answer.as_bytes())
        self.part()

    def part(self) -> None:
        """Nothing more is said or heard. What the client still sends is dropped, until it ends its half or has had its time.

        A connection that is closed at once is reset by the next bytes of a client that sends on, and the reset overtakes the answer.
        """
        transport, self.transport = self.transport, None
        self.force_close()
        if transport is None or transport.is_closing():
            return  # the client has gone before
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self._loop.call_later(REFUSAL_S_MAX, transport.abort)
        transport.write_eof()
        transport.resume_reading()

    def handle_error(
        self,
        request: web.BaseRequest | None,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Answer:
        """A problem for what never reached the dispatcher: bytes that are no HTTP, or a fault of ours on the way."""
        if status != STATUS_OF_CODE[MalformedRequest.code]:
            log.error("request_failed", exc_info=exc)
            answer = self._problem(GatewayError(outcome="unknown"))
        elif isinstance(exc, LineTooLong) or message == _TOO_MANY:
            answer = self._problem(HeadersTooLarge())
        else:
            answer = self._problem(MalformedRequest())
        answer.is_cut = True
        return answer

    def _problem(self, error: GatewayError) -> Answer:
        answer = self._problems.answer(error, self._next_request_id())
        answer.force_close()
        unmatched.answered(answer.status, 0.0)
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A fault of a connection is logged; a body whose framing is broken is the client's and is not."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            log.error("connection_failed", exc_info=kw.get("exc_info"))
