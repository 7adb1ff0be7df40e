"""Judging a server: what is refused and what is warned of, each in one line with the mend."""

from __future__ import annotations

import pytest

from gateway.embedded import PrivateRedis
from gateway.hot.fake import FakeLink
from gateway.hot.judgement import judge
from gateway.hot.link import ReplyError
from tests.hot.links import linked
from tests.hot.stub import bulk, handler_server

GOOD = {
    "redis_version": "7.0.15", "role": "master", "maxmemory_policy": "noeviction", "aof_enabled": "1",
    "connected_slaves": "1", "master_replid": "x",
}  # fmt: skip


async def verdict(**told: str):  # type: ignore[no-untyped-def]
    """The judgement on a server that tells this about itself."""
    text = "\r\n".join(f"{name}:{value}" for name, value in {**GOOD, **told}.items())

    async def serve(reader, writer) -> None:  # type: ignore[no-untyped-def]
        while b"replication" not in await reader.read(1 << 16):
            pass
        writer.write(bulk("role:master\r\nmaster_replid:x\r\n"))
        while await reader.read(1 << 16):
            writer.write(bulk(text))

    async with handler_server(serve) as port, linked(f"redis://127.0.0.1:{port}") as link:
        return await judge(link)


async def test_judge_a_good_server() -> None:
    """Nothing to refuse, nothing to warn of."""
    found = await verdict()

    assert (found.server, found.refusals, found.warnings) == ("redis 7.0.15", [], [])


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"redis_version": "6.2.14"}, ["6.2.14", "too old", "7"]),
        ({"maxmemory_policy": "allkeys-lru"}, ["allkeys-lru", "noeviction"]),
        ({"maxmemory_policy": "volatile-ttl"}, ["volatile-ttl", "noeviction"]),
        ({"role": "slave"}, ["slave", "primary"]),
    ],
)
async def test_judge_refuses(told: dict[str, str], words: list[str]) -> None:
    """Too old, evicting, a replica: one line that says what is wrong and what to do."""
    (refusal,) = (await verdict(**told)).refusals

    assert all(word in refusal for word in words)
    assert "\n" not in refusal


@pytest.mark.parametrize(
    ("told", "word"), [({"aof_enabled": "0"}, "append-only"), ({"connected_slaves": "0"}, "replica")]
)
async def test_judge_warns(told: dict[str, str], word: str) -> None:
    """No persistence, no replica: unwise, and told."""
    found = await verdict(**told)

    assert found.refusals == []
    assert any(word in warning for warning in found.warnings)


async def test_judge_several_at_once() -> None:
    """All that is wrong is told together."""
    found = await verdict(redis_version="6.0.0", maxmemory_policy="allkeys-lru")

    assert len(found.refusals) == 2


async def test_judge_a_new_major_version() -> None:
    """Redis 8 and later are fine: the number is compared as a number."""
    assert (await verdict(redis_version="10.0.1")).refusals == []


async def test_judge_our_own_server(own_redis: PrivateRedis) -> None:
    """The embedded Valkey passes, and is named by its own version."""
    async with linked(own_redis.url) as link:
        found = await judge(link)

    assert found.refusals == []
    assert found.server.startswith("valkey ")


async def test_judge_a_server_that_is_busy_is_no_verdict() -> None:
    """An error is not taken for the server without INFO: a gateway that looked at that moment would think that all is simulated."""

    async def serve(reader, writer) -> None:  # type: ignore[no-untyped-def]
        while b"replication" not in await reader.read(1 << 16):
            pass
        writer.write(bulk("role:master\r\nmaster_replid:x\r\n"))
        while await reader.read(1 << 16):
            writer.write(b"-BUSY somebody's script runs\r\n")

    async with handler_server(serve) as port, linked(f"redis://127.0.0.1:{port}") as link:
        with pytest.raises(ReplyError, match="BUSY"):
            await judge(link)


async def test_judge_fakeredis_is_told_loudly() -> None:
    """The server inside this process is recognised and warned of."""
    link = FakeLink()
    found = await judge(link)
    await link.close()

    assert (found.server, found.refusals) == ("fakeredis", [])
    assert "simulated" in found.warnings[0]
