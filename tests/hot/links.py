"""Links as tests make them: with time enough for a machine that stands still, back soon, and closed whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.hot.address import parse_address
from gateway.hot.connection import SocketLink
from gateway.hot.scripts import Scripts
from gateway.hot.shard import Limits, Shard
from gateway.paths import lua_dir


def new_link(
    url: str,
    *,
    timeout_ms: int = 30_000,
    connect_timeout_ms: int = 30_000,
    pending_max: int = 10_000,
    reconnect_ms_max: int = 50,
) -> SocketLink:
    """A link that is not started."""
    return SocketLink(
        parse_address(url),
        timeout_ms=timeout_ms,
        connect_timeout_ms=connect_timeout_ms,
        reconnect_ms_max=reconnect_ms_max,
        pending_max=pending_max,
    )


@asynccontextmanager
async def linked(url: str, **how: int) -> AsyncIterator[SocketLink]:
    """A started link."""
    link = new_link(url, **how)
    await link.start()
    try:
        yield link
    finally:
        await link.close()


def new_shard(link: SocketLink, *, timeout_ms: int = 30_000, resend_max: int = 2) -> Shard:
    """An open shard on the link, of epoch 1."""
    limits = Limits(command_timeout_ms=timeout_ms, resend_max=resend_max, backlog_max=1_000_000)
    shard = Shard(link, Scripts(lua_dir()), limits, prefix="stub", number=0)
    shard.open_under(1, 1, link.lineage, 0)
    return shard
