"""A running gateway, seen from outside: one method per kind of call, each repeated until its outcome is
known.

This is the other side of the wire, so it is the one place besides `gateway/web` that reads status numbers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import orjson
from yarl import URL

from gateway.cli.answer import Answer, AnswerUnreadable, GaveUp, UrlInvalid
from gateway.cli.failure import failure_in_words

PAUSE_SECONDS_MIN = 0.05
PAUSE_SECONDS_MAX = 2.0
#: A gateway that asks for a longer pause is asked again anyway; the total stays bounded by the caller's
#: patience.
RETRY_AFTER_SECONDS_MAX = 5.0
#: One attempt. Longer than the gateway's own limits (ack.timeout_ms 2 s), so that it can answer what it
#: knows.
ATTEMPT_SECONDS_MAX = 10.0
#: One attempt of an upload, which is thousands of changes.
UPLOAD_SECONDS_MAX = 120.0
PROBE_SECONDS = 5.0
#: What an attempt without any answer is called.
NO_ANSWER = "no_answer"

#: 408 and 429 ask for the same request again, as does every 5xx: nothing happened, or the same key tells what
#: did.
_REPEATED = frozenset({408, 429})

Pieces = Callable[[], AsyncIterator[bytes]]


@dataclass(slots=True)
class _Request:
    method: str
    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Pieces | None = None
    seconds_max: float = ATTEMPT_SECONDS_MAX


@dataclass(slots=True)
class _Heard:
    """What one attempt brought: an answer, or words on why there is none; `is_final` False asks for the same
    again.
    """

    answer: Answer | None
    failure: str = ""
    after_seconds: float = 0.0
    is_final: bool = False


class Remote:
    """The calls. A lost answer, a 5xx and a 429 are followed by the same request until `patience_seconds`
    have passed.

    So an outcome is learnt, never guessed: the caller gives a key to what must not happen twice.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        shop: str,
        patience_seconds: float,
        on_repeat: Callable[[str], None] = lambda code: None,
    ) -> None:
        """`on_repeat` is told of each attempt that was not final: the problem's code, or `no_answer`."""
        self._session = session
        self._url = url
        self._shop = shop
        self._patience_seconds = patience_seconds
        self._on_repeat = on_repeat

    async def probe(self) -> None:
        """The gateway lives.

        Raises:
            GaveUp: nothing answers, told after a few seconds rather than after the whole patience.
        """
        answer = await self._repeat(_Request("GET", "/healthz"), PROBE_SECONDS)
        answer.required("asking for /healthz")

    async def get(self, path: str, **parameters: str) -> Answer:
        """The answer to a read."""
        return await self._repeat(_Request("GET", path, parameters), self._patience_seconds)

    async def glance(self, path: str, *, seconds_max: float = ATTEMPT_SECONDS_MAX) -> Answer:
        """The answer to a read that is asked once, whatever its status.

        Raises:
            GaveUp: there is no answer.
        """
        heard = await self._attempt(_Request("GET", path, seconds_max=seconds_max), 1)
        if heard.answer is None:
            raise GaveUp(f"GET {self._url}{path}: {heard.failure}")
        return heard.answer

    async def demand(self, path: str, body: Mapping[str, object], *, seconds_max: float) -> Answer:
        """The answer to a JSON body that is sent once, whatever its status.

        Raises:
            GaveUp: there is no answer; what became of it is not known.
        """
        headers = {"Content-Type": "application/json"}
        request = _Request("POST", path, headers=headers, body=orjson.dumps(body), seconds_max=seconds_max)
        heard = await self._attempt(request, 1)
        if heard.answer is None:
            raise GaveUp(f"POST {self._url}{path}: {heard.failure}")
        return heard.answer

    async def post(self, path: str, body: Mapping[str, object], *, key: str | None = None) -> Answer:
        """The answer to a JSON body; with `key` the effect happens once however often it is sent."""
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        request = _Request("POST", path, headers=headers, body=orjson.dumps(body))
        return await self._repeat(request, self._patience_seconds)

    async def upload(self, path: str, pieces: Pieces, content_type: str, **parameters: str) -> Answer:
        """The answer to a body sent in chunks; `pieces` is called again for each attempt."""
        headers = {"Content-Type": content_type}
        request = _Request("POST", path, parameters, headers, pieces, UPLOAD_SECONDS_MAX)
        return await self._repeat(request, self._patience_seconds)

    async def _repeat(self, request: _Request, patience_seconds: float) -> Answer:
        clock = asyncio.get_running_loop().time
        end = clock() + patience_seconds
        attempts = 0
        while True:
            attempts += 1
            heard = await self._attempt(request, attempts)
            if heard.is_final and heard.answer is not None:
                return heard.answer
            self._on_repeat(heard.answer.code if heard.answer else NO_ANSWER)
            doubled = min(PAUSE_SECONDS_MIN * 2.0 ** min(attempts - 1, 20), PAUSE_SECONDS_MAX)
            jitter = random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load, it protects nothing
            pause = max(heard.after_seconds, doubled * jitter)
            if clock() + pause >= end:
                raise GaveUp(
                    f"{request.method} {self._url}{request.path}: no final answer within "
                    f"{patience_seconds:g} s, {attempts} attempts; the last: {heard.failure}"
                )
            await asyncio.sleep(pause)

    async def _attempt(self, request: _Request, attempts: int) -> _Heard:
        """Send the request once.

        Raises:
            AnswerUnreadable: a success that is no JSON object.
        """
        body = request.body() if callable(request.body) else request.body
        try:
            async with self._session.request(
                request.method,
                self._target(request),
                data=body,
                headers=request.headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=request.seconds_max),
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            return _Heard(None, failure_in_words(exc, request.seconds_max))
        parsed = _parsed(raw)
        is_success = 200 <= response.status < 300
        if is_success and parsed is None and request.path.startswith("/v1/"):
            raise AnswerUnreadable(f"{self._url}{request.path}: the answer is not JSON; is a gateway at this address?")
        code = "" if is_success else _code(response.status, parsed)
        is_final = response.status < 500 and response.status not in _REPEATED
        answer = Answer(is_success, code, parsed or {}, attempts)
        return _Heard(answer, answer.explain(), _after_seconds(response.headers.get("Retry-After")), is_final)

    def _target(self, request: _Request) -> URL:
        query = ""
        if request.path.startswith("/v1/") and not request.path.startswith("/v1/admin/"):
            query = "?" + urlencode({"shop": self._shop, **request.parameters}, quote_via=quote)
        return URL(f"{self._url}{request.path}{query}", encoded=True)


@asynccontextmanager
async def connect(
    url: str,
    shop: str,
    *,
    key: str = "",
    connections_max: int = 4,
    patience_seconds: float = 0.0,
    on_repeat: Callable[[str], None] = lambda code: None,
) -> AsyncIterator[Remote]:
    """A client of the gateway at `url` for as long as the block lasts; `on_repeat` as in Remote.

    Raises:
        UrlInvalid: the address has no host or is not http(s).
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UrlInvalid(f"--url must be an address like http://127.0.0.1:8080, not {url!r}")
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections_max),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Authorization": f"Bearer {key}"} if key else {},
    ) as session:
        yield Remote(session, url.rstrip("/"), shop, patience_seconds, on_repeat)


def segment(text: str) -> str:
    """The text as one segment of a path. Dots are escaped where they are all there is: `..` would climb."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _code(status: int, parsed: dict[str, Any] | None) -> str:
    """The problem's own code, or the status where somebody else answered."""
    code = (parsed or {}).get("code")
    return code if isinstance(code, str) and code else f"http_{status}"


def _after_seconds(header: str | None) -> float:
    try:
        return min(max(float(header or 0), 0.0), RETRY_AFTER_SECONDS_MAX)
    except ValueError:
        # The header may also be a date; our own pause does then.
        return 0.0
