"""The server that aiohttp's sites hand their connections to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import web

from gateway.domain.errors import Overloaded
from gateway.web.connection import Connection, unmatched
from gateway.web.direct import DirectConnection, is_known
from gateway.web.dispatcher import Dispatcher
from gateway.web.limits import HttpLimits
from gateway.web.problems import Problems

log = structlog.get_logger("gateway.web")


class Server(web.Server):
    """Makes our connections. Safe to use for several addresses."""

    def __init__(
        self,
        dispatch: Dispatcher,
        limits: HttpLimits,
        problems: Problems,
        next_request_id: Callable[[], str],
    ) -> None:
        """Needs a running loop."""
        super().__init__(dispatch)
        #: The short way of a request; see `Dispatcher`.
        self.short_way = dispatch.short_way
        self.begin = dispatch.begin
        self._own = (limits, problems, next_request_id)
        self._connection: type[Connection] = DirectConnection
        if not is_known():
            # Right, only slower: nothing but the loop over requests differs.
            self._connection = Connection
            log.warning("aiohttp_not_known", mend="install a release that pyproject.toml names for full speed")
        self._settings: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": limits.keepalive_timeout_ms / 1000,
            # The rest of a body that was refused is read and dropped for as long as a body may take.
            "lingering_time": limits.body_timeout_ms / 1000,
            "max_line_size": limits.header_bytes_max,
            "max_field_size": limits.header_bytes_max,
            "max_headers": limits.headers_max,
            # A compressed body is refused, not unpacked.
            "auto_decompress": False,
        }

    @property
    def connection_count(self) -> int:
        """Connections that were taken and have not ended."""
        return len(self._connections)

    def refusal(self) -> bytes:
        """What a client is told for whose connection there is no room."""
        _, problems, next_request_id = self._own
        answer = problems.answer(Overloaded("The gateway has as many connections as it takes"), next_request_id())
        answer.force_close()
        unmatched.answered(answer.status, 0.0)
        return answer.as_bytes()

    def __call__(self) -> Connection:
        """A connection that was just accepted."""
        return self._connection(self, *self._own, loop=self._loop, **self._settings)
