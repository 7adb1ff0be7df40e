"""A gateway over fake services on a free loopback port, with a client that speaks to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from gateway.web import server as server_module
from gateway.web.application import SITE, GatewayRunner, build_application
from gateway.web.connection import Connection
from gateway.web.direct import DirectConnection
from gateway.web.limits import HttpLimits
from gateway.web.site import Services, Site
from tests.web.clock import Clock
from tests.web.fakes import POLICY, Books, FakeOperations, FakeReservations, FakeStock

#: Small sizes, and times that run out in no test: a machine may stand still for seconds in the middle of a request.
LIMITS = HttpLimits(
    body_bytes_max=65_536,
    header_bytes_max=4_096,
    headers_max=40,
    header_timeout_ms=60_000,
    body_timeout_ms=60_000,
    import_row_bytes_max=512,
    import_rejected_max=5,
)
#: For tests that wait until the time is over.
IMPATIENT = replace(LIMITS, header_timeout_ms=300, body_timeout_ms=300)
#: How long an answer is waited for.
ANSWER_SECONDS_MAX = 30


@dataclass
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The JSON of the answer."""
        return json.loads(self.raw)

    @property
    def fields(self) -> list[str]:
        """The fields that an `invalid_request` names, sorted."""
        assert self.body["code"] == "invalid_request", self.body
        return sorted(error["field"] for error in self.body["errors"])


@dataclass
class Gateway:
    """One running gateway as a test sees it."""

    site: Site
    books: Books
    operations: FakeOperations
    runner: GatewayRunner
    session: aiohttp.ClientSession
    port: int

    async def ask(self, method: str, path: str, **request: Any) -> Reply:
        """One request; `json`, `data`, `headers` as aiohttp takes them. The path goes out as it is written."""
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self.session.request(method, url, **request) as response:
            return Reply(response.status, response.headers, await response.read())

    async def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        """A POST of this JSON; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (
            await self.ask("POST", path, json=body, headers=named)
            if body is not None
            else await self.ask("POST", path, headers=named)
        )

    async def send(self, raw: bytes, content_type: str | None = "application/json") -> Reply:
        """A POST of these bytes to /v1/reservations."""
        headers = {} if content_type is None else {"Content-Type": content_type}
        skip = ("Content-Type",) if content_type is None else ()
        return await self.ask("POST", "/v1/reservations", data=raw, headers=headers, skip_auto_headers=skip)

    async def reserve(self, sku: str = "a", quantity: int = 1, **fields: Any) -> Any:
        """A reservation of one line that must succeed."""
        reply = await self.post("/v1/reservations", {"lines": [{"sku": sku, "quantity": quantity}], **fields})
        assert reply.status == 201, reply.raw
        return reply.body

    async def raw(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """Everything that comes back for these bytes until the gateway closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            return await asyncio.wait_for(reader.read(), ANSWER_SECONDS_MAX)
        finally:
            writer.close()


Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """A function that starts a gateway: `limits`, `bootstrap_key`, `connection` as the test wants them."""
    async with AsyncExitStack() as stack:

        async def begin(
            limits: HttpLimits = LIMITS,
            bootstrap_key: str | None = None,
            connection: type[Connection] = DirectConnection,
        ) -> Gateway:
            books = Books()
            operations = FakeOperations(books)
            services = Services(FakeReservations(books), FakeStock(books), operations)
            application = build_application(services, lambda: POLICY, limits, bootstrap_key=bootstrap_key)
            runner = GatewayRunner(application)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            assert isinstance(runner.server, server_module.Server)
            runner.server._connection = connection
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Gateway(application[SITE], books, operations, runner, session, runner.addresses[0][1])

        yield begin


@pytest.fixture
async def gateway(start: Start) -> Gateway:
    """A gateway without keys whose books hold 10 units each of `a` and `b`."""
    running: Gateway = await start()
    running.books.put("a", on_hand=10)
    running.books.put("b", on_hand=10)
    return running


@pytest.fixture
async def clock(start: Start) -> AsyncIterator[Clock]:
    """The loop's time stands still, and is real again before the gateways end."""
    loop = asyncio.get_running_loop()
    standing = Clock(loop.time())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "time", standing.time)
        yield standing
