"""Sizes and times of requests: bodies, headers, slow senders; and the connection afterwards."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.client import Client
from tests.acceptance.sockets import RESERVE, connection, head, padded

# What the edge refuses does not depend on the stores behind it.
pytestmark = pytest.mark.parametrize("gateway", ["embedded"], indirect=True, scope="session")

MIB = 1_048_576


async def test_body_of_one_mib_is_read_and_one_byte_more_is_too_large(api: Client) -> None:
    """The limit is exact; above it nothing is held."""
    await api.stock_up("A", 9)

    taken = await api.post("/v1/reservations", raw=padded(MIB))
    refused = await api.post("/v1/reservations", raw=padded(MIB + 1))

    assert taken.status == 201
    assert refused.outcome == (413, "body_too_large")
    assert (await api.stock("A"))["held"] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/batch"), ("PUT", "/v1/stock/A/main"), ("POST", "/v1/stock/query"), ("POST", "/v1/stock/A/pause")],
)
async def test_every_call_refuses_a_body_that_is_too_large(api: Client, method: str, path: str) -> None:
    """Also where a body is optional."""
    answer = await api.call(method, path, raw=b"{" + b" " * MIB + b"}")

    assert answer.outcome == (413, "body_too_large")


async def test_chunked_body_is_measured_too(api: Client) -> None:
    """Without a Content-Length the limit is the same, and a body within it is read."""
    await api.stock_up("A", 9)
    target = f"/v1/reservations?shop={api.shop}"
    chunked = head("POST", target, None, "Content-Type: application/json", "Transfer-Encoding: chunked")

    async with connection(api.address) as raw:
        small = RESERVE
        await raw.send(chunked + b"%x\r\n%s\r\n0\r\n\r\n" % (len(small), small))
        taken = await raw.answer()
        await raw.send(chunked)
        chunk = b" " * 65536
        for _ in range(MIB // len(chunk) + 1):
            await raw.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        await raw.send(b"0\r\n\r\n")
        refused = await raw.answer()

    assert taken[0] == 201
    assert (refused[0], refused[2]["code"]) == (413, "body_too_large")
    assert (await api.stock("A"))["held"] == 1


async def test_connection_lives_on_after_a_body_that_is_too_large(api: Client) -> None:
    """The rest of the body is read and dropped: the next request on the connection is answered as itself."""
    async with connection(api.address) as raw:
        await raw.send(head("POST", "/v1/reservations", 3 * MIB) + b" " * (3 * MIB) + head("GET", "/healthz"))
        first = await raw.answer()
        second = await raw.answer()

    assert (first[0], first[2]["code"]) == (413, "body_too_large")
    assert (second[0], second[2]["status"]) == (200, "ok")


async def test_slow_sender_does_not_keep_others_waiting(api: Client) -> None:
    """A hundred half requests are open; another buyer is answered."""
    await api.stock_up("A", 9)
    half = head("POST", f"/v1/reservations?shop={api.shop}", 500) + b'{"lines":'

    async def one(ready: asyncio.Event) -> None:
        async with connection(api.address) as raw:
            await raw.send(half)
            await ready.wait()

    done = asyncio.Event()
    slow = [asyncio.create_task(one(done)) for _ in range(100)]
    await asyncio.sleep(0.05)
    answer = await asyncio.wait_for(api.reserve(("A", 1)), 30)
    done.set()
    await asyncio.gather(*slow)

    assert answer.status == 201
    assert (await api.stock("A"))["held"] == 1


async def test_requests_in_one_go_are_answered_in_order(api: Client) -> None:
    """Pipelined requests on one connection: each its own answer, the first one first."""
    await api.stock_up("A", 9)
    body = RESERVE
    target = f"/v1/reservations?shop={api.shop}"

    async with connection(api.address) as raw:
        await raw.send(
            head("GET", "/healthz", None, "X-Request-Id: one")
            + head("POST", target, len(body), "X-Request-Id: two")
            + body
            + head("GET", "/nowhere", None, "X-Request-Id: three")
        )
        answers = [await raw.answer() for _ in range(3)]

    assert [answer[0] for answer in answers] == [200, 201, 404]
    assert [answer[1]["x-request-id"] for answer in answers] == ["one", "two", "three"]
