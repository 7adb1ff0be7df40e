"""The short way of a request through a connection: no task of its own, no header dictionaries."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.http import HttpVersion10, RawRequestMessage, StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD

from gateway.web.connection import Connection
from gateway.web.wire import Answer

if TYPE_CHECKING:
    from gateway.web.server import Server

#: The releases whose inner life this file was written and tested against; with any other, aiohttp's own loop serves.
KNOWN: Final = ("3.14.",)


def is_known() -> bool:
    """Whether this aiohttp is one that `DirectConnection` fits."""
    return aiohttp.__version__.startswith(KNOWN)


_IS_KNOWN: Final = is_known()


def at_hand(content: aiohttp.StreamReader) -> bytes | None:
    """The whole body where it has arrived already, else None.

    It is taken as it lies there, so that it can be asked for again; and aiohttp's own reading of it costs 2 of 28 µs of a reservation.
    """
    if not content.is_eof() or content.exception() is not None:
        return None
    if _IS_KNOWN and content is not EMPTY_PAYLOAD and content._buffer_offset == 0:
        pieces = content._buffer
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return content.read_nowait()


class _BegunRequest(aiohttp.web.BaseRequest):
    """A request on its short way: what was parsed and where its answer goes.

    The base class is not initialised: it sets three times as many fields, and what is asked most often it looks up in a dictionary.
    """

    __slots__ = ("content", "headers", "keep_alive", "method", "version")

    def __init__(
        self, message: RawRequestMessage, payload: aiohttp.StreamReader, connection: Connection, stream: StreamWriter
    ) -> None:
        self.method, self.version, self.headers = message.method, message.version, message.headers
        self.keep_alive = not message.should_close
        self.content = payload
        self._message = message
        self._protocol = connection
        self._payload_writer = stream
        self._cache = {}  # of what is asked for all the same


class _Idle:
    """What aiohttp takes for the future that it ends when a request has come.

    It tries the request's short way, and lets the connection's task sleep on where that goes well.
    """

    __slots__ = ("_connection", "_is_over", "awakened")

    def __init__(self, connection: DirectConnection, awakened: asyncio.Future[None]) -> None:
        self._connection = connection
        self._is_over = False
        #: The connection's task is needed.
        self.awakened = awakened

    def done(self) -> bool:
        """Whether a request is being answered."""
        return self._is_over

    def set_result(self, _result: None) -> None:
        """A request has come."""
        self._is_over = True
        if not self._connection.begin():
            self.awaken()

    def cancel(self) -> None:
        """The connection ends."""
        self._is_over = True
        self.awakened.cancel()

    def awaken(self) -> None:
        """The connection's task goes on."""
        if not self.awakened.done():
            self.awakened.set_result(None)

    def sleep_on(self) -> None:
        """The connection waits for its next request, its task as well."""
        self._is_over = False


class DirectConnection(Connection):
    """Serves the requests of a connection one after the other, without a task of their own.

    aiohttp starts a task and five coroutines for each request, to keep their context variables apart and to let a handler
    write its answer bit by bit. Ours return whole answers and set their variables anew, so the connection's own task serves
    them. And where a request has a short way (`Route.begin`), even that task sleeps on: the request starts where its bytes
    came in, and is answered where its result came in. Measured on the way of a reservation without its socket: 23.5 µs became
    20.3 with the first; in a process under load the second took another 2 of 40.
    """

    __slots__ = ("_answered", "_begin", "_idle", "_short_way", "_stream")

    def __init__(self, server: Server, *own: Any, **settings: Any) -> None:
        """`own` and `settings` are those of `Connection`."""
        super().__init__(server, *own, **settings)
        self._short_way = server.short_way
        self._begin = server.begin
        #: The task sleeps.
        self._idle: _Idle | None = None
        #: What the short way answered, where the connection's task is needed behind it.
        self._answered: tuple[aiohttp.web.BaseRequest, Answer] | None = None
        #: What a handler writes with that writes its answer itself; the next request must not find this one's.
        self._stream = StreamWriter(self, self._loop)

    async def start(self) -> None:
        """Requests are answered until the connection ends; called once, by aiohttp, when the client has connected."""
        try:
            await self._serve()
        except ConnectionError:
            # The client left in the middle of an answer, or did not read it.
            self.force_close()
        except BaseException:
            self.force_close()
            raise
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _serve(self) -> None:
        messages = self._messages
        dispatch, make_request = self._request_handler, self._request_factory
        task = asyncio.current_task()
        if dispatch is None or make_request is None or task is None:
            # The connection was lost before its task had a turn.
            return
        while not self._force_close:
            if not messages:
                await self._until_needed()
                if self._answered is not None:
                    request, told = self._answered
                    self._answered = None
                    if not await self._is_followed(request, told):
                        return
                    continue
            message, payload = messages.popleft()
            self._make_room()
            if not isinstance(message, RawRequestMessage):
                self._refuse_bytes(message)
                return
            request = make_request(message, payload, self, self._stream, task)
            self._request_in_progress = True
            self._current_request = request
            try:
                answer = await dispatch(request)
            finally:
                self._current_request = None
                self._no_request_in_progress()
            if isinstance(answer, Answer):
                answer.send(request)
            else:
                await self.finish_response(request, answer, None)
                self._stream = StreamWriter(self, self._loop)
            if not await self._is_followed(request, answer):
                return

    async def _until_needed(self) -> None:
        """Return when the connection's task is needed."""
        awakened = self._loop.create_future()
        self._idle = _Idle(self, awakened)
        self._waiter = self._idle  # type: ignore[assignment]
        try:
            await awakened
        finally:
            self._waiter = self._idle = None

    def begin(self) -> bool:
        """Whether the request that has just come is under way, and needs no task."""
        message, payload = self._messages[0]
        if (
            len(self._messages) > 1
            or not isinstance(message, RawRequestMessage)
            or message.upgrade
            or message.version < HttpVersion10
            or self._task_handler is None
        ):
            return False
        # Asked before anything is made: most kinds of requests have none.
        found = self._short_way(message.method, message.path)
        if found is None:
            return False
        request = _BegunRequest(message, payload, self, self._stream)
        if not self._begin(found, request, partial(self._end, request)):
            return False
        self._request_in_progress = True
        return True

    def _end(self, request: aiohttp.web.BaseRequest, answer: Answer | None) -> None:
        """The short way has led to an answer, or to nothing: then the request is as it was when it came, and still under way."""
        idle = self._idle
        if idle is None or idle.awakened.done():
            self._no_request_in_progress()
            return  # the connection has ended
        if answer is None:
            idle.awaken()
            return
        self._no_request_in_progress()
        self._messages.popleft()
        self._make_room()
        try:
            answer.send(request)
        except ConnectionError:
            self.force_close()
            return
        if self._messages or self._paused or not answer.keep_alive or self._close:
            self._answered = (request, answer)
            idle.awaken()
        else:
            self._await_next()
            idle.sleep_on()

    def _no_request_in_progress(self) -> None:
        """Whoever shuts down need not wait for this connection. It may have been told before, or have given up waiting."""
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)

    async def _is_followed(self, request: aiohttp.web.BaseRequest, answer: aiohttp.web.StreamResponse) -> bool:
        """Whether the connection takes another request behind this answer; return when it may."""
        if self._paused and isinstance(answer, Answer):
            await answer.until_read(request)
        payload = request.content
        if not payload.is_eof():
            await self._drop_rest(payload)
        # Behind an upgrade that was not accepted come bytes of another protocol.
        if not answer.keep_alive or self._close or self._upgraded:
            return False
        self._await_next()
        return True

    def _make_room(self) -> None:
        """The parser may read on where it had stopped before too many requests at once."""
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()

    def _refuse_bytes(self, fault: Any) -> None:
        answer = self.handle_error(None, fault.status, fault.exc, fault.message)
        if self.transport is not None:
            self.transport.write(answer.as_bytes())
        self.part()

    async def _drop_rest(self, payload: aiohttp.StreamReader) -> None:
        """What is left of a refused body is read and dropped, or the connection is cut after the time a body may take."""
        try:
            async with asyncio.timeout(self._lingering_time):
                while not payload.is_eof():
                    await payload.readany()
        except (TimeoutError, RuntimeError, aiohttp.web.RequestPayloadError):
            self.force_close()

    def _await_next(self) -> None:
        """The connection may be idle for `keepalive_timeout_ms` from now."""
        close_time = self._loop.time() + self._keepalive_timeout
        self._next_keepalive_close_time = close_time
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
