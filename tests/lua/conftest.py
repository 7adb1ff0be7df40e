"""A shard for one test, on every server: Valkey, redis-server where there is one, a given one, and fakeredis."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from gateway.hot.address import parse_address
from gateway.hot.connection import SocketLink
from gateway.hot.fake import FakeLink
from tests.lua.audit import audit
from tests.lua.warehouse import Warehouse
from tests.servers import RedisServers, redis_ids, remove_keys


def socket_link(url: str) -> SocketLink:
    """A link as the gateway makes it, not yet started."""
    return SocketLink(
        parse_address(url), timeout_ms=5000, connect_timeout_ms=5000, reconnect_ms_max=200, pending_max=10_000
    )


@pytest.fixture(params=[*redis_ids(), "fakeredis"])
def server_id(request: pytest.FixtureRequest) -> str:
    """`valkey`, `redis7`, `given` or `fakeredis`."""
    return str(request.param)


@pytest.fixture
async def link(server_id: str, redis_servers: RedisServers) -> AsyncIterator[SocketLink | FakeLink]:
    """A started link to the server; ours is empty."""
    link = FakeLink() if server_id == "fakeredis" else socket_link(redis_servers.url(server_id))
    await link.start()
    yield link
    await link.close()


@pytest.fixture
async def warehouse(
    link: SocketLink | FakeLink, server_id: str, redis_servers: RedisServers
) -> AsyncIterator[Warehouse]:
    """A new shard. After the test every law is checked, unless the test broke one on purpose."""
    prefix = f"t{secrets.token_hex(6)}"
    warehouse = await Warehouse.open(link, prefix)
    yield warehouse
    try:
        if not warehouse.is_damaged:
            await audit(warehouse)
    finally:
        if server_id == "given":
            await warehouse.call("FUNCTION", "DELETE", warehouse.shard.scripts.library)
            remove_keys(redis_servers.url(server_id), prefix)
