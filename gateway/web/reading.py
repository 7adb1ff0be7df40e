"""Bodies, read within their bounds and refused in the order of the contract: 413, 415, 400, 422."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, TypeVar

from aiohttp.web_protocol import RequestPayloadError
from multidict import istr
from pydantic import BaseModel

from gateway.domain.errors import BodyTooLarge, MalformedJson, Overloaded, RequestTimeout, UnsupportedMediaType
from gateway.loop import is_cancelled
from gateway.web.bodies import check
from gateway.web.direct import at_hand
from gateway.web.exchange import Exchange
from gateway.web.json_text import parse
from gateway.web.limits import HttpLimits

CONTENT_TYPE: Final = istr("Content-Type")
CONTENT_ENCODING: Final = istr("Content-Encoding")
EXPECT: Final = istr("Expect")
JSON: Final = "application/json"

#: Of bodies that have begun to arrive and are not complete, in this process: four thousand slow senders must not need gigabytes.
WAITING_BYTES_MAX: Final = 67_108_864


class _Waiting:
    """How many bytes of such bodies there are."""

    count = 0


_waiting: Final = _Waiting()

M = TypeVar("M", bound=BaseModel)


async def read_form(
    exchange: Exchange, model: type[M], limits: HttpLimits, *, is_optional: bool = False
) -> tuple[dict[str, Any], M | None]:
    """The body as it was written, and as its model; None with the faults in `exchange.errors`.

    With `is_optional` an empty body means `{}`, whatever its Content-Type.

    Raises:
        BodyTooLarge, UnsupportedMediaType, MalformedJson, RequestTimeout: in this order, the first that applies.
    """
    return form_of(exchange, await read_json(exchange, limits, is_optional=is_optional), model)


async def read_json(exchange: Exchange, limits: HttpLimits, *, is_optional: bool = False) -> bytes:
    """The bytes of the body, which say that they are JSON; `{}` for an empty one that is optional.

    Raises:
        BodyTooLarge, UnsupportedMediaType, MalformedJson, RequestTimeout: in this order, the first that applies.
    """
    request = exchange.request
    # Almost every body has arrived together with its head: nothing to wait for, no timer to set.
    raw = at_hand(request.content)
    if raw is None:
        raw = await _read_slowly(exchange, limits)
    elif len(raw) > limits.body_bytes_max:
        raise BodyTooLarge
    headers = request.headers
    media = headers.get(CONTENT_TYPE)
    # Common clients name a type even for nothing (`curl -d ''` a form, aiohttp octets); nothing has no type to be wrong.
    if media != JSON and not (is_optional and not raw):
        require_media(media, (JSON,))
    if CONTENT_ENCODING in headers:
        refuse_encoding(headers[CONTENT_ENCODING])
    if raw:
        return raw
    if is_optional:
        return b"{}"
    raise MalformedJson("The body is empty")


def json_at_hand(exchange: Exchange, limits: HttpLimits) -> bytes | None:
    """The bytes of a body with which nothing is wrong and which has arrived already; None says nothing about it."""
    request = exchange.request
    raw = at_hand(request.content)
    headers = request.headers
    if not raw or len(raw) > limits.body_bytes_max or headers.get(CONTENT_TYPE) != JSON or CONTENT_ENCODING in headers:
        return None
    return raw


def optional_form_at_hand(exchange: Exchange, model: type[M], limits: HttpLimits) -> tuple[dict[str, Any], M] | None:
    """As `read_form` with `is_optional`, of a body with which nothing is wrong and which is there; None says nothing about it."""
    raw = at_hand(exchange.request.content)
    if raw == b"" and CONTENT_ENCODING not in exchange.request.headers:
        return {}, _bare(model)
    parsed, form = ({}, None) if not raw or json_at_hand(exchange, limits) is None else form_of(exchange, raw, model)
    return None if form is None or exchange.errors else (parsed, form)


@cache
def _bare(model: type[M]) -> M:
    """What an empty body means, made once: nobody changes a form."""
    return model()


def form_of(exchange: Exchange, raw: bytes, model: type[M]) -> tuple[dict[str, Any], M | None]:
    """The body as it was written, and as its model; None with the faults in `exchange.errors`. Raises MalformedJson."""
    parsed = parse(raw, exchange.errors)
    if not isinstance(parsed, dict):
        exchange.wrong("body", "must be an object")
        return {}, None
    return parsed, check(model, parsed, exchange.errors)


async def _read_slowly(exchange: Exchange, limits: HttpLimits) -> bytes:
    """The whole body, which is still on its way.

    Raises:
        BodyTooLarge: it is longer than `body_bytes_max`, as announced or as it came.
        RequestTimeout: it was not complete within `body_timeout_ms` or when the gateway had to stop, or the client left.
        MalformedJson: its framing is broken, so there is no body to speak of.
        Overloaded: with this one the bodies on their way to this process are too much.
    """
    content = exchange.request.content
    announced = exchange.request.content_length
    if announced is not None and announced > limits.body_bytes_max:
        raise BodyTooLarge
    invite(exchange)
    pieces: list[bytes] = []
    size = 0
    try:
        with _endings("The body did not arrive in time"):
            async with asyncio.timeout(limits.body_timeout_ms / 1000):
                while piece := await content.readany():
                    pieces.append(piece)
                    size += len(piece)
                    _waiting.count += len(piece)
                    if size > limits.body_bytes_max:
                        raise BodyTooLarge
                    if _waiting.count > WAITING_BYTES_MAX:
                        raise Overloaded("More bodies are on their way than there is room for")
    finally:
        _waiting.count -= size
    return b"".join(pieces)


async def body_pieces(exchange: Exchange, limits: HttpLimits) -> AsyncGenerator[bytes]:
    """The body of any size, piece by piece, each of which must come within `body_timeout_ms`.

    Raises:
        RequestTimeout: a piece did not come in time or before the gateway had to stop, or the client left.
        MalformedJson: the framing is broken.
    """
    content = exchange.request.content
    invite(exchange)
    with _endings("The body stopped coming"):
        while True:
            async with asyncio.timeout(limits.body_timeout_ms / 1000):
                piece = await content.readany()
            if not piece:
                return
            yield piece


@contextmanager
def _endings(too_late: str) -> Iterator[None]:
    """A body that breaks off within is told as what it means for its request. Raises RequestTimeout, MalformedJson."""
    try:
        yield
    except TimeoutError as late:
        raise RequestTimeout(too_late) from late
    except asyncio.CancelledError as ended:
        if is_cancelled():
            raise
        # So aiohttp tells the reader that none of it will come any more.
        raise RequestTimeout("The gateway stops, and the body is not complete") from ended
    except RequestPayloadError as broken:
        raise MalformedJson("The body's framing is broken") from broken
    except (ConnectionError, RuntimeError) as gone:
        # aiohttp says RuntimeError for a connection that closed before it was asked.
        raise RequestTimeout("The client left before its body was complete") from gone


def invite(exchange: Exchange) -> None:
    """A client that waits for `100 Continue` before it sends its body is told to go on."""
    request = exchange.request
    if request.headers.get(EXPECT, "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def require_media(header: str | None, accepted: tuple[str, ...]) -> str:
    """The media type of the header, one of `accepted`, in UTF-8.

    Raises:
        UnsupportedMediaType: it is another one, none, or in another encoding of text.
    """
    media, *parameters = (header or "").split(";")
    media = media.strip().lower()
    charset = "utf-8"
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    if media not in accepted or charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(f"Content-Type must be {' or '.join(accepted)}, in UTF-8")
    return media


def refuse_encoding(header: str) -> None:
    """Nothing for `identity`. A compressed body could be a thousand times its size, so none is read.

    Raises:
        UnsupportedMediaType: the body is compressed or otherwise encoded.
    """
    if header.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("A body must not be compressed (Content-Encoding)")
