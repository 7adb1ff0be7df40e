"""Requests that no library of ours would send: each is refused in the same form, and the gateway lives on."""

from __future__ import annotations

import gzip
import zlib

import pytest

from tests.acceptance.answers import CODES
from tests.acceptance.client import Client
from tests.acceptance.sockets import RESERVE, connection, head

# What the edge refuses does not depend on the stores behind it.
pytestmark = pytest.mark.parametrize("gateway", ["embedded"], indirect=True, scope="session")

BROKEN = {
    "no request line": b"GARBAGE\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "unknown version": b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
    "header without colon": b"GET /healthz HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "space in a header name": b"GET /healthz HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n",
    "nul in a header": b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    "negative length": b"POST /v1/reservations HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "length of letters": b"POST /v1/reservations HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n",
    "two lengths": b"POST /v1/reservations HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "length and chunks": (
        b"POST /v1/reservations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
async def test_request_that_is_no_http_is_refused_as_a_problem(api: Client, raw: bytes) -> None:
    """A 4xx in the form of every error, without our inside; nothing behind it on the connection is executed."""
    async with connection(api.address) as wire:
        await wire.send(raw)
        status, headers, problem = await wire.answer()

    assert 400 <= status < 500
    assert headers["content-type"].startswith("application/problem+json"), problem
    assert {"type", "title", "status", "code", "outcome", "request_id"} <= set(problem)
    assert "Traceback" not in str(problem)
    assert (await api.get("/healthz")).status == 200


async def test_code_of_a_refused_request_belongs_to_its_status(api: Client) -> None:
    """Clients branch on `code`: what is promised with one status (and `errors`) is not sent with another."""
    async with connection(api.address) as wire:
        await wire.send(BROKEN["no request line"])
        status, _, problem = await wire.answer(5)

    promised, _ = CODES.get(problem["code"], (status, set()))
    assert (problem["code"], status) == (problem["code"], promised)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/stock/%zz",
        "/v1/stock/%ff",
        "/v1/stock/%C3",
        "/v1/stock/%ED%A0%80",
        "/v1/stock/%00",
        "/v1//stock",
        "/v1/stock/",
        "/v1/stock/A/",
        "/v1/./stock/x",
        "/v1/../healthz/x",
        "//healthz",
        "/v1/stock/" + "x" * 4000,
        "/v1/stock?limit=1&limit=2",
        "/v1/stock?shop=a&shop=b",
        "/v1/stock?shop=%ff",
        "/v1/stock?cursor=" + "x" * 4000,
        "/v1/reservations?reference=%ff",
        "/v1/reservations?sku=%00",
        "/v1/reservations?reference=",
        "/v1/reservations?" + "&".join(f"x{n}=1" for n in range(300)),
    ],
)
async def test_strange_address_is_refused_as_a_problem(api: Client, path: str) -> None:
    """A 4xx with a code of the contract, never a failure of ours."""
    answer = await api.for_shop(None).get(path)

    assert 400 <= answer.status < 500 or (answer.status == 200 and "limit=1" in path)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_body_cannot_outgrow_the_limit(api: Client, encoding: str) -> None:
    """64 MiB of spaces in 64 kB: refused, by its size or by its encoding."""
    plain = b" " * (64 * 1024 * 1024)
    packed = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)

    answer = await api.post("/v1/reservations", raw=packed, headers={"Content-Encoding": encoding})

    assert answer.status in {400, 413, 415}


async def test_compressed_body_is_understood_or_refused_as_such(api: Client) -> None:
    """A small gzip body is either read or 415, it is not called malformed JSON."""
    await api.stock_up("A", 5)

    answer = await api.post("/v1/reservations", raw=gzip.compress(RESERVE), headers={"Content-Encoding": "gzip"})

    assert answer.status in {201, 415}
    assert (await api.stock("A"))["held"] == (answer.status == 201)


async def test_sender_that_waits_for_100_continue_gets_it(api: Client) -> None:
    """As curl sends larger bodies."""
    await api.stock_up("A", 5)
    target = f"/v1/reservations?shop={api.shop}"

    async with connection(api.address) as wire:
        await wire.send(head("POST", target, len(RESERVE), "Expect: 100-continue"))
        first = (await wire.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]
        await wire.send(RESERVE)
        status, _, _ = await wire.answer()

    assert (first, status) == (b"HTTP/1.1 100 Continue", 201)


async def test_client_that_leaves_early_neither_stops_nor_doubles_its_call(api: Client) -> None:
    """Fifty keyed requests are sent and abandoned; each key then answers one reservation."""
    await api.stock_up("A", 500)
    target = f"/v1/reservations?shop={api.shop}&ack=durable"
    for number in range(50):
        async with connection(api.address) as wire:
            await wire.send(head("POST", target, len(RESERVE), f"Idempotency-Key: k{number}") + RESERVE)

    for number in range(50):
        assert (await api.reserve(("A", 1), key=f"k{number}")).status == 201

    assert await api.counters("A") == (500, 50, 0, 450)
