"""Connections, spoken to in raw bytes: what is no HTTP, what never ends, and what must not become two requests."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
import structlog

from gateway.web import reading, server
from gateway.web.connection import Connection
from gateway.web.direct import DirectConnection, is_known
from gateway.web.problems import Problems
from gateway.web.wire import SHARED_BYTES_MIN, Answer
from tests.web.clock import Clock
from tests.web.conftest import IMPATIENT, LIMITS, Gateway

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BODY = b'{"lines":[{"sku":"a","quantity":1}]}'
POST = b"POST /v1/reservations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(params=[DirectConnection, Connection], ids=["direct", "by aiohttp"])
async def raw(start: Any, request: pytest.FixtureRequest) -> Gateway:
    """A gateway on either kind of connection: they must not differ."""
    gateway: Gateway = await start(connection=request.param)
    gateway.books.put("a", on_hand=100)
    return gateway


@pytest.fixture
async def impatient(raw: Gateway, start: Any) -> Gateway:
    """Another one on the same kind of connection, whose times are soon over."""
    assert isinstance(raw.runner.server, server.Server)
    gateway: Gateway = await start(limits=IMPATIENT, connection=raw.runner.server._connection)
    return gateway


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers in these bytes."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def problem(answer: bytes) -> Any:
    """The problem that these bytes end with; the connection was closed behind it."""
    head, _, body = answer.rpartition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert b"Content-Type: application/problem+json" in head
    return json.loads(body)


async def test_requests_are_served_one_after_the_other_on_one_connection(raw: Gateway) -> None:
    """Keep-alive, pipelining, and a close where the client asks for it."""
    answer = await raw.raw(GET * 3 + POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY + LAST)

    assert statuses(answer) == [200, 200, 200, 201, 200]
    assert answer.count(b"Connection: close") == 1


async def test_hundreds_of_pipelined_requests_are_all_answered(raw: Gateway) -> None:
    """The parser stops and goes on as its queue fills and drains."""
    answer = await raw.raw(GET * 300 + LAST)

    assert statuses(answer) == [200] * 301


NO_HTTP = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "words": b"hello world\r\n\r\n",
    "http 0.9": b"GET /healthz\r\n\r\n",
    "unknown method": b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "space before colon": b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
    "folded header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "NUL in a header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
    "bare CR": b"GET /healthz HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LAST,
    "two lengths": POST + b"Content-Length: 36\r\nContent-Length: 5\r\n\r\n" + BODY + LAST,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + LAST,
    "hex length": POST + b"Content-Length: 0x24\r\n\r\n" + BODY + LAST,
    "signed length": POST + b"Content-Length: +36\r\n\r\n" + BODY + LAST,
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + LAST,
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + LAST,
    "chunk size with 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + LAST,
    "chunk size too large": POST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n" + LAST,
    "LF only": b"GET /healthz HTTP/1.1\nHost: x\n\n",
}


@pytest.mark.parametrize("name", sorted(NO_HTTP))
async def test_bytes_that_are_no_http_answer_400_and_close(raw: Gateway, name: str) -> None:
    """One problem, then the end: nothing behind it is read as a second request."""
    answer = await raw.raw(NO_HTTP[name])

    assert statuses(answer) == [400]
    told = problem(answer)
    assert (told["code"], told["outcome"]) == ("malformed_request", "not_applied")
    assert raw.books.seen == []


async def test_chunk_that_is_broken_after_a_good_one_answers_400_at_once(raw: Gateway) -> None:
    """The reader of the body does not wait for what cannot come until its time is over; nothing was applied, nothing is read on."""
    answer = await raw.raw(
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + BODY[:5] + b"\r\n", b"zz\r\n" + LAST, pause_s=0.05
    )

    assert statuses(answer) == [400]
    assert problem(answer)["code"] == "malformed_json"
    assert raw.books.seen == []


async def test_chunks_with_trailers_are_one_request(raw: Gateway) -> None:
    """What stands in a trailer is not a request of its own."""
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\nX: y\r\n\r\n"

    assert statuses(await raw.raw(chunked + LAST)) == [201, 200]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 5_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A" * 5_000 + b": b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: b\r\n" % number for number in range(60)) + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"A%d: %b\r\n" % (n, b"c" * 300) for n in range(20))
        + b"\r\n",
    ],
    ids=["line", "value", "name", "count", "sum"],
)
async def test_head_over_its_bounds_answers_431(raw: Gateway, head: bytes) -> None:
    """A long line, a long field, many fields, or all of them together."""
    answer = await raw.raw(head + LAST)

    assert statuses(answer)[0] == 431
    assert b'"code":"headers_too_large"' in answer


async def test_head_that_grows_for_ever_answers_431_and_closes(raw: Gateway) -> None:
    """A head in pieces is bounded while it comes."""
    pieces = [b"GET /healthz HTTP/1.1\r\n"] + [b"A: %b\r\n" % (b"b" * 250)] * (LIMITS.header_bytes_max // 255)
    assert sum(map(len, pieces)) > LIMITS.header_bytes_max > sum(map(len, pieces[:-1]))

    answer = await raw.raw(*pieces, pause_s=0.001)

    assert statuses(answer) == [431]


async def test_head_that_stops_coming_answers_408_and_closes(impatient: Gateway) -> None:
    """Nobody holds a connection with half a head."""
    answer = await impatient.raw(b"GET /healthz HTTP/1.1\r\nHost:")

    assert statuses(answer) == [408]
    assert problem(answer)["code"] == "request_timeout"


async def test_half_a_head_that_comes_with_its_connection_answers_408(impatient: Gateway) -> None:
    """Its time begins although the connection's task has not had a turn yet: else nobody would ever end it."""
    server_here = impatient.runner.server
    assert isinstance(server_here, server.Server)
    connection = server_here()
    transport = Mock(**{"is_closing.return_value": False, "get_extra_info.return_value": None})
    connection.connection_made(transport)

    connection.data_received(b"POST /v1/reservations HTTP/1.1\r\nHost: x\r\n")
    async with asyncio.timeout(30):
        while not transport.write.called:  # noqa: ASYNC110  # a mock tells nobody
            await asyncio.sleep(0.01)

    assert statuses(transport.write.call_args.args[0]) == [408]
    connection.connection_lost(None)


async def test_head_in_slow_pieces_is_served_while_it_is_in_time(raw: Gateway, clock: Clock) -> None:
    """The time of a head begins with its first byte, on every request of a connection anew."""
    reader, writer = await asyncio.open_connection("127.0.0.1", raw.port)
    taken = raw.runner.server
    assert isinstance(taken, server.Server)
    answers = []

    for head in (GET, GET, LAST):
        writer.write(head[:9])
        await clock.until(lambda: [each for each in taken.connections if each._head_bytes])
        await clock.move(LIMITS.header_timeout_ms / 1000 * 0.6)
        writer.write(head[9:])
        answers.append(await reader.readuntil(b'{"status":"ok"}'))

    assert [statuses(answer) for answer in answers] == [[200]] * 3
    writer.close()


async def test_body_that_stops_coming_answers_408_and_closes(impatient: Gateway) -> None:
    """Nobody holds a request with half a body, and nothing was applied."""
    answer = await impatient.raw(POST + b"Content-Length: 100\r\n\r\n" + BODY)

    assert statuses(answer) == [408]
    assert problem(answer)["outcome"] == "not_applied"
    assert impatient.books.seen == []


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", 408),
        (POST + b"Content-Length: 60000\r\n\r\n{", 408),
        (POST + b"Content-Length: many\r\n\r\n{", 400),
    ],
    ids=["head", "body", "no HTTP"],
)
async def test_client_that_sends_on_reads_why_it_was_hung_up_on(
    impatient: Gateway, monkeypatch: pytest.MonkeyPatch, first: bytes, status: int
) -> None:
    """Whatever is on its way when the connection ends: it is dropped, and no reset overtakes the answer."""
    monkeypatch.setattr("gateway.web.connection.REFUSAL_S_MAX", 60)

    async def drip() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
        writer.write(first)
        answered = asyncio.create_task(reader.read())
        while not answered.done():
            writer.write(b"a")
            await asyncio.wait([answered], timeout=0.001)
        writer.close()
        return await answered

    async with asyncio.timeout(30):
        answers = await asyncio.gather(*[drip() for _ in range(20)])

    assert [statuses(answer) for answer in answers] == [[status]] * 20


async def test_client_that_sends_on_for_ever_is_cut(raw: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was hung up on and keeps its half of the connection open loses it after a moment."""
    monkeypatch.setattr("gateway.web.connection.REFUSAL_S_MAX", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", raw.port)
    writer.write(b"no HTTP\r\n\r\n")
    assert statuses(await reader.read()) == [400]

    async with asyncio.timeout(30):
        while raw.runner.server.connections:  # type: ignore[union-attr]  # nobody tells this
            writer.write(b"a")
            await asyncio.sleep(0.01)

    writer.close()


async def test_client_that_leaves_within_its_body_leaves_nothing_behind(raw: Gateway) -> None:
    """No request stays in flight, and nothing is logged as a fault of ours."""
    with structlog.testing.capture_logs() as lines:
        _, writer = await asyncio.open_connection("127.0.0.1", raw.port)
        writer.write(POST + b"Content-Length: 100\r\n\r\n" + BODY)
        await writer.drain()
        async with asyncio.timeout(30):
            while raw.site.requests_in_flight == 0:  # noqa: ASYNC110  # nothing in the gateway tells this
                await asyncio.sleep(0)
            writer.close()
            while raw.site.requests_in_flight:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0)

    assert lines == []
    assert raw.books.seen == []


async def test_rest_of_a_refused_body_is_dropped_and_the_next_request_served(raw: Gateway) -> None:
    """A 413 is told at once; the connection lives if the rest comes in time."""
    size = LIMITS.body_bytes_max * 3
    head = POST + b"Content-Length: %d\r\n\r\n" % size

    answer = await raw.raw(head, b"x" * size, LAST, pause_s=0.02)

    assert statuses(answer) == [413, 200]


async def test_rest_of_a_refused_body_that_never_comes_closes_the_connection(impatient: Gateway) -> None:
    """It is waited for as long as a body may take."""
    answer = await impatient.raw(POST + b"Content-Length: 999999999\r\n\r\n")

    assert statuses(answer) == [413]


async def test_client_that_expects_to_be_asked_for_its_body_is(raw: Gateway) -> None:
    """`100 Continue` where the body is wanted, the refusal alone where it is not."""
    expecting = POST + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    wanted, unwanted = [await asyncio.open_connection("127.0.0.1", raw.port) for _ in range(2)]

    wanted[1].write(expecting % len(BODY))
    asked = await wanted[0].readuntil(b"\r\n\r\n")
    wanted[1].write(BODY)
    unwanted[1].write(expecting % 999_999_999)

    assert statuses(asked) == [100]
    assert statuses(await wanted[0].read()) == [201]
    assert statuses(await unwanted[0].readuntil(b"\r\n\r\n")) == [413]
    for _, writer in (wanted, unwanted):
        writer.close()


async def test_http_1_0_is_answered_and_closed_unless_asked_otherwise(raw: Gateway) -> None:
    """Old clients get what they expect."""
    once = await raw.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    kept = await raw.raw(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + b"GET /healthz HTTP/1.0\r\n\r\n")

    assert statuses(once) == [200]
    assert statuses(kept) == [200, 200]
    assert b"Connection: keep-alive" in kept


@pytest.mark.parametrize("target", [b"http://elsewhere/healthz", b"https://x:1/healthz?a=b"])
async def test_absolute_target_is_served_by_its_path(raw: Gateway, target: bytes) -> None:
    """A proxy's form of the target names the same resource."""
    answer = await raw.raw(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert statuses(answer) == [200]


@pytest.mark.parametrize(
    "line",
    [
        b"OPTIONS * HTTP/1.1",
        b"CONNECT x:443 HTTP/1.1",
        b"GET http:// HTTP/1.1",
        b"GET /" + b"://" * 1_300 + b" HTTP/1.1",
    ],
)
async def test_other_targets_are_refused(raw: Gateway, line: bytes) -> None:
    """No target is a fault of ours."""
    answer = await raw.raw(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert statuses(answer)[0] in (400, 404)


async def test_upgrade_is_not_accepted_and_the_connection_closed(raw: Gateway) -> None:
    """What comes behind an upgrade is no request."""
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    head += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

    answer = await raw.raw(head + b"\x81\x05hello", pause_s=0.05)

    assert statuses(answer)[0] == 200
    assert set(statuses(answer)) <= {200, 400}


async def test_client_that_does_not_read_is_cut(start: Any) -> None:
    """An answer waits for room for its time, then the connection ends and its memory is free."""
    gateway: Gateway = await start()
    gateway.site.limits = type(LIMITS)(write_timeout_ms=100)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1_024)

    writer.write(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 12)
    await writer.drain()
    assert gateway.runner.server is not None
    async with asyncio.timeout(30):
        while not gateway.runner.server.connections:  # noqa: ASYNC110  # nothing in aiohttp tells this
            await asyncio.sleep(0.01)
        while gateway.runner.server.connections:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)

    writer.close()
    assert not reader.at_eof()


async def test_bodies_on_their_way_are_bounded_together(raw: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body for which there is no room beside the others is refused as `overloaded`; when they have come there is room again."""
    monkeypatch.setattr(reading, "WAITING_BYTES_MAX", 1_000)
    padded = BODY[:-1] + b" " * 700 + b"}"
    length = b"Content-Length: %d\r\n\r\n" % len(padded)
    first, second = [await asyncio.open_connection("127.0.0.1", raw.port) for _ in range(2)]
    first[1].write(POST + length + padded[:-1])
    async with asyncio.timeout(30):
        while reading._waiting.count == 0:  # noqa: ASYNC110  # nobody tells this
            await asyncio.sleep(0.001)
    second[1].write(POST + length + padded[:-1])

    assert (await second[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 503")
    assert b'"overloaded"' in await second[0].readuntil(b"}")
    first[1].write(padded[-1:])
    assert (await first[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 201")
    assert reading._waiting.count == 0
    for _, writer in (first, second):
        writer.close()


async def test_large_body_is_not_copied_for_each_client() -> None:
    """A page that is there once stays one, however many clients are slow to read it; a small answer is one write."""
    page = b"x" * (SHARED_BYTES_MIN + 1)
    written: list[bytes] = []
    request = Mock(keep_alive=True, version=(1, 1), method="GET")
    request.transport.write = written.append

    Answer(200, page).send(request)
    Answer(200, b"{}").send(request)

    assert len(written) == 3
    assert written[1] is page
    assert written[0].endswith(b"Content-Length: %d\r\n\r\n" % len(page))
    assert written[2].endswith(b"\r\n\r\n{}")


async def test_drain_lets_requests_in_flight_end(start: Any) -> None:
    """A stop finishes what was begun and then closes."""
    gateway: Gateway = await start()
    gate, begun = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        begun.set()
        await gate.wait()
        return {"version": 9}

    answered = gateway.site.services.operations.readiness

    async def readiness() -> Any:
        await slow()
        return await answered()

    gateway.operations.readiness = readiness  # type: ignore[method-assign]
    asked = asyncio.ensure_future(gateway.ask("GET", "/readyz"))
    await begun.wait()
    stopping = asyncio.ensure_future(gateway.runner.cleanup())
    await asyncio.sleep(0.05)
    gate.set()

    assert (await asked).status == 200
    await stopping


async def posted_in_two(gateway: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The head of a reservation is sent, its body is not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(BODY))
    return reader, writer


@pytest.mark.parametrize("kind", [Connection, DirectConnection])
async def test_drain_at_the_moment_a_head_has_come_waits_for_its_body(
    start: Any, kind: type[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that nobody has begun to answer yet is in flight: its body is taken, and it is answered."""
    gateway: Gateway = await start(connection=kind)
    gateway.books.put("a", on_hand=10)
    gateway.runner.drain()
    received, is_closed = kind.data_received, asyncio.Event()

    def close_behind(connection: Connection, data: bytes) -> None:
        received(connection, data)
        if not is_closed.is_set():
            is_closed.set()
            connection.close()

    monkeypatch.setattr(kind, "data_received", close_behind)
    reader, writer = await posted_in_two(gateway)
    await is_closed.wait()
    writer.write(BODY)

    async with asyncio.timeout(30):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 201")
    writer.close()


async def test_drain_tells_who_sends_no_body_that_nothing_happened(start: Any) -> None:
    """The gateway can not wait for ever: the client came too late, and that is no fault of ours."""
    gateway: Gateway = await start(limits=replace(LIMITS, drain_timeout_ms=100))
    reader, writer = await posted_in_two(gateway)
    while not gateway.site.requests_in_flight:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)

    gateway.runner.drain()
    await gateway.runner.cleanup()

    async with asyncio.timeout(30):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"outcome":"not_applied"' in answer
    writer.close()


async def test_idle_connection_is_closed_after_its_time(start: Any, clock: Clock) -> None:
    """An idle client does not hold a connection for ever, whether it has asked for something or not."""
    gateway: Gateway = await start(limits=type(LIMITS)(keepalive_timeout_ms=1_000))
    asking, silent = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(2)]
    asking[1].write(GET)
    answer = await asking[0].readuntil(b'{"status":"ok"}')
    await clock.until(lambda: len(gateway.runner.server.connections) == 2)  # type: ignore[union-attr]

    await clock.move(0.9)
    assert not [reader for reader, _ in (asking, silent) if reader.at_eof()]
    await clock.move(0.2)

    for reader, writer in (asking, silent):
        await clock.until(reader.at_eof)
        writer.close()
    assert statuses(answer) == [200]


async def test_time_of_an_idle_connection_begins_anew_with_each_request(start: Any, clock: Clock) -> None:
    """A connection in use outlives the time of an idle one."""
    gateway: Gateway = await start(limits=type(LIMITS)(keepalive_timeout_ms=1_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)

    answers = []
    for _ in range(4):
        writer.write(GET)
        answers.append(await reader.readuntil(b'{"status":"ok"}'))
        await clock.move(0.6)

    assert [statuses(answer) for answer in answers] == [[200]] * 4
    assert not reader.at_eof()
    writer.close()


def test_direct_connections_serve_where_aiohttp_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed release is known; with another one aiohttp's own loop serves, and it is told."""
    assert is_known()
    monkeypatch.setattr("aiohttp.__version__", "3.99.0")
    assert not is_known()


async def test_unknown_aiohttp_is_served_by_its_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slower, never wrong."""
    monkeypatch.setattr(server, "is_known", lambda: False)

    with structlog.testing.capture_logs() as lines:
        made = server.Server(Mock(), LIMITS, Problems(), lambda: "r")

    assert type(made()) is Connection
    assert [line["event"] for line in lines] == ["aiohttp_not_known"]
