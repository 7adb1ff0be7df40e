"""The short way of a reserve: started where its bytes came in, answered where its result came in, and nobody can tell."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import structlog

from gateway.domain.answer import ReservationAnswer
from gateway.domain.command import Call, Reserve
from gateway.domain.errors import DurabilityUnknown, HotStoreUnavailable
from gateway.service.port import Ended, Expect
from gateway.web import reservations
from gateway.web.direct import DirectConnection
from gateway.web.limits import HttpLimits
from gateway.web.wire import Answer
from tests.web.clock import Clock
from tests.web.conftest import LIMITS, Gateway, Start
from tests.web.fakes import FakeReservations

BODY = b'{"lines":[{"sku":"a","quantity":1}]}'
HEAD = b"POST /v1/reservations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(
    BODY
)
POST = HEAD + b"\r\n" + BODY
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclass
class Begun:
    """A reserve that waits for the test to end it."""

    reservations: FakeReservations
    command: Reserve
    call: Call
    ended: Ended
    expect: Expect

    def answer(self, *, is_expected: bool = False) -> None:
        """It is held; with `is_expected` that was told before."""
        answer = self.reservations._reserve(self.command, self.call)
        if is_expected:
            self.expect(answer)
        self.ended(answer)


@dataclass
class Waiting:
    """A gateway whose reserves wait, and a connection to it."""

    gateway: Gateway
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    begun: asyncio.Queue[Begun] = field(default_factory=asyncio.Queue)

    async def send(self, data: bytes) -> Begun:
        """The bytes are sent, and one more reserve is under way."""
        self.writer.write(data)
        async with asyncio.timeout(5):
            return await self.begun.get()

    async def head(self) -> bytes:
        """The head of the next answer; its body is read, too."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
            await self.reader.readexactly(int(length.split()[1]))
        return head


@pytest.fixture
async def waiting(start: Start, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A gateway whose reserves wait, and a connection to it."""
    limits = HttpLimits(write_timeout_ms=300)
    gateway: Gateway = await start(limits=limits)
    gateway.books.put("a", on_hand=100)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    waiting = Waiting(gateway, reader, writer)

    def begin(reservations: FakeReservations, command: Reserve, call: Call, ended: Ended, expect: Expect) -> bool:
        waiting.begun.put_nowait(Begun(reservations, command, call, ended, expect))
        return True

    monkeypatch.setattr(FakeReservations, "begin_reserve", begin)
    yield waiting
    writer.close()


async def test_requests_of_one_connection_take_the_short_way_one_after_the_other(waiting: Waiting) -> None:
    """Each is answered when it ended, and the connection stays for the next."""
    for _ in range(3):
        begun = await waiting.send(POST)
        begun.answer()
        assert (await waiting.head()).startswith(b"HTTP/1.1 201")

    assert waiting.gateway.site.requests_in_flight == 0
    assert len(waiting.gateway.books.reservations) == 3


async def test_request_that_comes_meanwhile_is_answered_behind(waiting: Waiting) -> None:
    """What is pipelined behind a reserve under way waits for its answer."""
    begun = await waiting.send(POST)
    waiting.writer.write(GET + LAST)
    await asyncio.sleep(0.05)
    begun.answer()

    async with asyncio.timeout(5):
        answers = await waiting.reader.read()
    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"201", b"200", b"200"]


async def test_answer_that_was_expected_is_made_before_it_is_told(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made once, when it is expected, and leaves with what was made; nothing leaves before it is told."""
    made: list[bytes] = []
    held = reservations._held

    def counted(command: Reserve, answer: ReservationAnswer) -> Answer:
        made.append(held(command, answer).payload)
        return held(command, answer)

    monkeypatch.setattr(reservations, "_held", counted)
    begun = await waiting.send(POST)
    answer = begun.reservations._reserve(begun.command, begun.call)
    answer.durable = True
    begun.expect(answer)
    assert len(made) == 1
    await asyncio.sleep(0.02)
    assert waiting.gateway.site.requests_in_flight == 1

    begun.ended(answer)
    async with asyncio.timeout(5):
        head = await waiting.reader.readuntil(b"\r\n\r\n")
        body = await waiting.reader.readexactly(len(made[0]))
    assert head.startswith(b"HTTP/1.1 201")
    assert [body] == made
    assert body.endswith(b'"durable":true}')


async def test_answer_that_was_expected_is_not_told_where_it_ended_otherwise(waiting: Waiting) -> None:
    """Of an answer that was made for a commit that was not seen nothing leaves, but the problem."""
    begun = await waiting.send(POST)
    begun.expect(begun.reservations._reserve(begun.command, begun.call))
    begun.ended(DurabilityUnknown("not seen"))
    assert (await waiting.head()).startswith(b"HTTP/1.1 503")

    begun = await waiting.send(POST)
    begun.answer(is_expected=True)
    assert (await waiting.head()).startswith(b"HTTP/1.1 201")


async def test_requests_that_come_together_are_answered_in_order(waiting: Waiting) -> None:
    """Two in one packet: the connection's task serves them both."""
    waiting.writer.write(POST + LAST)

    async with asyncio.timeout(5):
        answers = await waiting.reader.read()
    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"201", b"200"]
    assert waiting.begun.empty()


async def test_close_that_the_client_asks_for_is_kept(waiting: Waiting) -> None:
    """The answer says so, and what is sent behind it is not read any more."""
    begun = await waiting.send(HEAD + b"Connection: close\r\n\r\n" + BODY)
    begun.answer()
    assert b"Connection: close" in await waiting.head()
    waiting.writer.write(GET)

    async with asyncio.timeout(5):
        assert await _rest(waiting.reader) == b""


async def test_drain_meanwhile_lets_the_answer_out_and_closes(waiting: Waiting) -> None:
    """The request under way is waited for; its answer closes the connection."""
    begun = await waiting.send(POST)
    waiting.gateway.runner.drain()
    leaving = asyncio.create_task(waiting.gateway.runner.cleanup())
    await asyncio.sleep(0.1)
    assert not leaving.done()
    begun.answer()

    async with asyncio.timeout(5):
        answer = await waiting.reader.read()
        await leaving
    assert answer.startswith(b"HTTP/1.1 201")
    assert b"Connection: close" in answer


async def test_drain_waits_for_what_goes_the_long_way_after_all(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request is under way until it is answered, also where the short way led to nothing while the gateway was leaving."""
    reserve, may_go_on = FakeReservations.reserve, asyncio.Event()

    async def reserve_slowly(reservations: FakeReservations, command: Reserve, call: Call) -> ReservationAnswer:
        await may_go_on.wait()
        return await reserve(reservations, command, call)

    monkeypatch.setattr(FakeReservations, "reserve", reserve_slowly)
    begun = await waiting.send(POST)
    leaving = asyncio.create_task(waiting.gateway.runner.cleanup())
    await asyncio.sleep(0.05)
    begun.ended(None)
    await asyncio.sleep(0.05)
    assert not leaving.done()
    may_go_on.set()

    async with asyncio.timeout(5):
        answer = await waiting.reader.read()
        await leaving
    assert answer.startswith(b"HTTP/1.1 201")


async def test_client_that_left_meanwhile_leaves_nothing_behind(waiting: Waiting) -> None:
    """The hold stands, its answer goes nowhere, and no task is left."""
    begun = await waiting.send(POST)
    waiting.writer.close()
    server = waiting.gateway.runner.server
    assert server is not None
    async with asyncio.timeout(5):
        while server.connections:  # noqa: ASYNC110  # nothing in aiohttp tells this
            await asyncio.sleep(0.01)
    begun.answer()

    assert waiting.gateway.site.requests_in_flight == 0
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
    assert not [name for name in names if name.startswith(DirectConnection.__name__)]


async def test_reserve_under_way_is_not_idle(waiting: Waiting, clock: Clock) -> None:
    """The time that a connection may be idle does not run while it is answered, and runs again behind."""
    idle_s = waiting.gateway.site.limits.keepalive_timeout_ms / 1000
    first = await waiting.send(POST)
    first.answer()
    await waiting.head()
    second = await waiting.send(POST)
    await clock.move(1.5 * idle_s)
    second.answer()
    assert (await waiting.head()).startswith(b"HTTP/1.1 201")

    await clock.move(1.5 * idle_s)
    await clock.until(waiting.reader.at_eof)


async def test_refusal_is_a_problem(waiting: Waiting) -> None:
    """What could not be done is told with its outcome and the request's id."""
    begun = await waiting.send(HEAD + b"X-Request-Id: mine\r\n\r\n" + BODY)
    begun.ended(HotStoreUnavailable("Redis does not answer", outcome="unknown"))

    head = await waiting.head()
    assert head.startswith(b"HTTP/1.1 503")
    assert b"Retry-After:" in head
    assert b"X-Request-Id: mine\r\n" in head


async def test_reserve_of_which_nothing_was_done_goes_the_long_way(waiting: Waiting) -> None:
    """The request is served as if it had just come."""
    begun = await waiting.send(POST)
    begun.ended(None)

    assert (await waiting.head()).startswith(b"HTTP/1.1 201")
    assert waiting.gateway.site.requests_in_flight == 0
    assert len(waiting.gateway.books.seen) == 1


async def test_answer_that_cannot_be_made_is_a_fault_of_ours(waiting: Waiting) -> None:
    """The client learns that the outcome is unknown, the log learns why, the connection goes on."""
    begun = await waiting.send(HEAD + b"X-Request-Id: mine\r\n\r\n" + BODY)
    with structlog.testing.capture_logs() as lines:
        begun.ended(ReservationAnswer(None, durable=False))  # type: ignore[arg-type]
        async with asyncio.timeout(5):
            head = await waiting.reader.readuntil(b"\r\n\r\n")
            told = json.loads(await waiting.reader.readuntil(b"}"))

    assert head.startswith(b"HTTP/1.1 500")
    assert (told["code"], told["outcome"]) == ("internal_error", "unknown")
    assert [(line["event"], line["request_id"]) for line in lines] == [("handler_failed", "mine")]
    (await waiting.send(POST)).answer()
    assert (await waiting.head()).startswith(b"HTTP/1.1 201")


async def test_one_request_too_many_is_refused(start: Start) -> None:
    """The bound of requests in flight holds on the short way, and a refused one is not counted on."""
    gateway: Gateway = await start(limits=replace(LIMITS, requests_max=2))
    gateway.books.put("a", on_hand=1)
    gateway.site.requests_in_flight = 2

    answer = await gateway.raw(HEAD + b"Connection: close\r\n\r\n" + BODY)

    assert answer.startswith(b"HTTP/1.1 503")
    assert gateway.books.seen == []
    assert gateway.site.requests_in_flight == 2


async def test_long_head_is_refused_before_anything_begins(start: Start) -> None:
    """The bound of the head holds on the short way, too."""
    gateway: Gateway = await start(limits=LIMITS)
    gateway.books.put("a", on_hand=1)
    head = HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"b" * 400) for n in range(12))

    answer = await gateway.raw(head + b"Connection: close\r\n\r\n" + BODY)

    assert answer.startswith(b"HTTP/1.1 431")
    assert gateway.books.seen == []


async def test_client_that_does_not_read_is_cut(waiting: Waiting) -> None:
    """A client that sends on and never reads its answers loses its connection, and takes no more memory."""
    transport = waiting.writer.transport
    transport.pause_reading()  # type: ignore[attr-defined]
    try:
        async with asyncio.timeout(60):
            while not transport.is_closing():
                begun = await waiting.send(POST)
                begun.ended(_long_answer(begun))
                await asyncio.sleep(0)
    except TimeoutError:
        pass
    server = waiting.gateway.runner.server
    assert server is not None
    async with asyncio.timeout(5):
        while server.connections:  # noqa: ASYNC110  # nothing in aiohttp tells this
            await asyncio.sleep(0.01)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end of the connection, however it ends."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


def _long_answer(begun: Begun) -> ReservationAnswer:
    answer = begun.reservations._reserve(begun.command, begun.call)
    answer.reservation.lines *= 20_000
    return answer


def _chunked(*pieces: bytes) -> bytes:
    """A reserve whose body comes in chunks, all in one packet."""
    head = HEAD.replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
    return head + b"Connection: close\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


async def test_body_in_pieces_is_whole_on_both_ways(start: Start) -> None:
    """A wrong body that came in chunks is looked at twice, and the second look still finds all of it."""
    gateway: Gateway = await start(limits=LIMITS)
    gateway.books.put("a", on_hand=9)

    right = [await gateway.raw(_chunked(BODY[:9], BODY[9:])) for _ in range(2)]
    wrong = [await gateway.raw(_chunked(b'{"lines":[{"sku":"a","quan', b'tity":0}]}')) for _ in range(2)]

    assert [answer[:12] for answer in right] == [b"HTTP/1.1 201"] * 2
    assert [answer[:12] for answer in wrong] == [b"HTTP/1.1 422"] * 2
    assert all(b'"lines[0].quantity"' in answer for answer in wrong)


@pytest.mark.parametrize("version", [b" HTTP/1.0", b" HTTP/1.1"])
async def test_reading_takes_both_ways(start: Start, version: bytes) -> None:
    """A sku is told alike, in either version of HTTP; HEAD has no body, an unknown sku is 404, a wrong query 422."""
    gateway: Gateway = await start(limits=LIMITS)
    gateway.books.put("a b", on_hand=9)
    tail = version + b"\r\nHost: x\r\nConnection: close\r\n\r\n"

    told = [await gateway.raw(b"GET /v1/stock/a%20b" + tail) for _ in range(2)]
    heads = [await gateway.raw(b"HEAD /v1/stock/a%20b" + tail) for _ in range(2)]
    unknown = [await gateway.raw(b"GET /v1/stock/c" + tail) for _ in range(2)]
    wrong = [await gateway.raw(b"GET /v1/stock/a?color=red" + tail) for _ in range(2)]

    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in told]
    assert json.loads(bodies[0])["on_hand"] == 9
    assert bodies[0] == bodies[1]
    assert [answer.partition(b"\r\n\r\n")[2] for answer in heads] == [b"", b""]
    assert [answer.split()[1] for answer in unknown + wrong] == [b"404", b"404", b"422", b"422"]


async def test_reading_with_a_body_on_its_way_waits_for_it(start: Start) -> None:
    """What is sent with a GET is dropped, and not taken for the next request."""
    gateway: Gateway = await start(limits=LIMITS)
    gateway.books.put("a", on_hand=9)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for _ in range(2):
        writer.write(b"GET /v1/stock/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"GET /")
    writer.write(LAST)

    async with asyncio.timeout(5):
        answers = await reader.read()
    writer.close()

    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", b"200"),
        (b"{}", b"200"),
        (b'{"reason":"changed"}', b"200"),
        (b'{"reason":7}', b"422"),
        (b'{"reason":"a","reason":"b"}', b"422"),
        (b"[", b"400"),
    ],
)
async def test_change_takes_both_ways(start: Start, body: bytes, status: bytes) -> None:
    """A release with nothing to say, something, or something wrong is answered alike."""
    gateway: Gateway = await start(limits=LIMITS)
    gateway.books.put("a", on_hand=9)
    statuses = []
    for _ in range(2):
        made = await gateway.raw(HEAD + b"Connection: close\r\n\r\n" + BODY)
        id = json.loads(made.partition(b"\r\n\r\n")[2])["id"].encode()
        request = b"POST /v1/reservations/%b/release HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % id
        kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body) if body else b""
        statuses.append((await gateway.raw(request + kind + b"\r\n" + body)).split()[1])

    assert statuses == [status] * 2
