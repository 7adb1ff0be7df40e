"""Reaching a server: password, user, database, unix socket, TLS; and what is said when it will not have us."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from gateway.domain.errors import GatewayError, HotStoreUnavailable
from gateway.embedded import PrivateRedis
from gateway.hot.connection import Refused
from tests.hot.links import linked, new_link, new_shard
from tests.hot.stub import array, bulk, stub_server

CERTIFICATE = Path(__file__).parent / "certificate" / "certificate.pem"
KEY = CERTIFICATE.with_name("key.pem")


def url_of(server: PrivateRedis, login: str = "", query: str = "") -> str:
    """The server's unix URL with a login."""
    return server.url.replace("unix://", f"unix://{login}") + query


async def test_password_of_the_default_user(own_redis: PrivateRedis) -> None:
    """With requirepass the password alone logs in; the link does its work."""
    async with linked(own_redis.url) as link:
        await link.call("CONFIG", "SET", "requirepass", "secret %@/")
    async with linked(url_of(own_redis, ":secret%20%25%40%2F@")) as link:
        assert await link.call("PING") == "PONG"


async def test_user_and_password(own_redis: PrivateRedis) -> None:
    """An ACL user logs in by name, and its rights are its own."""
    async with linked(own_redis.url) as admin:
        await admin.call("ACL", "SETUSER", "gateway", "on", ">secret", "~*", "+@all")
        async with linked(url_of(own_redis, "gateway:secret@")) as link:
            assert await link.call("ACL", "WHOAMI") == "gateway"


async def test_wrong_password_is_refused_without_showing_it(own_redis: PrivateRedis) -> None:
    """`start` raises Refused, as its docstring says, and no text of the link or the error holds the password."""
    async with linked(own_redis.url) as link:
        await link.call("ACL", "SETUSER", "gateway", "on", ">right", "~*", "+@all")
    link = new_link(url_of(own_redis, "gateway:hunter2@"))

    with pytest.raises(Refused) as refused:
        await link.start()

    assert "hunter2" not in f"{refused.value!r} {link.problem} {link._address!r} {link._address}"


async def test_password_taken_away_while_connected(own_redis: PrivateRedis) -> None:
    """A user who may not run a command any more: NOPERM is told as not applied."""
    async with linked(own_redis.url) as admin:
        await admin.call("ACL", "SETUSER", "gateway", "on", ">secret", "~*", "+@all")
        async with linked(url_of(own_redis, "gateway:secret@")) as link:
            shard = new_shard(link)
            await shard.load_scripts()
            await admin.call("ACL", "SETUSER", "gateway", "-fcall")

            with pytest.raises(HotStoreUnavailable, match="NOPERM") as refused:
                await shard.run("expire", (), ("1",))

    assert refused.value.outcome == "not_applied"


async def test_rights_missing_inside_a_script_change_nothing(own_redis: PrivateRedis) -> None:
    """A user who may call scripts but not write streams: an error, and nothing is written."""
    from tests.lua.warehouse import Warehouse, wish

    async with linked(own_redis.url) as admin:
        await admin.call("ACL", "SETUSER", "gateway", "on", ">secret", "~*", "+@all")
        async with linked(url_of(own_redis, "gateway:secret@")) as link:
            warehouse = await Warehouse.open(link, "acl")
            await warehouse.stock("A", 3)
            await admin.call("ACL", "SETUSER", "gateway", "-xadd")
            before = await warehouse.snapshot()

            with pytest.raises(GatewayError):
                await warehouse.run(warehouse.reserve(wish("A", 1)))

            assert await warehouse.snapshot() == before


async def test_database_number(valkey_url: str) -> None:
    """Keys of one database are not those of another."""
    async with linked(f"{valkey_url}?db=3") as third, linked(valkey_url) as first:
        await third.call("SET", "k", "in 3")

        assert await first.call("GET", "k") is None
        assert await third.call("GET", "k") == "in 3"


async def test_database_that_is_not_there_is_refused(valkey_url: str) -> None:
    """A number the server does not have stops the start."""
    with pytest.raises(Refused):
        await new_link(f"{valkey_url}?db=99999").start()


async def test_unix_socket_that_is_not_there(short_path: Path) -> None:
    """OSError, as for a port where nobody listens."""
    with pytest.raises(FileNotFoundError):
        await new_link(f"unix://{short_path}/none.sock").start()


def server_side() -> ssl.SSLContext:
    """The stub's end of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    return context


def echo(command: list[str]) -> bytes:
    """The last word back."""
    return bulk(command[-1])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_tls_with_a_known_authority(host: str) -> None:
    """rediss:// with the authority's file: commands and large ones go through, the name is verified."""
    async with (
        stub_server(echo, server_side()) as (_, port),
        linked(f"rediss://{host}:{port}?ssl_ca_certs={CERTIFICATE}") as link,
    ):
        large = "x" * 2_000_000
        assert await link.call("ECHO", "hello") == "hello"
        assert await link.call("ECHO", large) == large


async def test_tls_unknown_authority_is_not_trusted() -> None:
    """A certificate nobody vouches for: no connection, unless the URL says so for a test server."""
    async with stub_server(echo, server_side()) as (_, port):
        with pytest.raises(ssl.SSLCertVerificationError):
            await new_link(f"rediss://localhost:{port}").start()
        async with linked(f"rediss://localhost:{port}?ssl_cert_reqs=none") as link:
            assert await link.call("ECHO", "hello") == "hello"


async def test_tls_to_a_server_without_it() -> None:
    """A plain server under rediss:// is an OSError, not a hang."""
    async with stub_server(echo) as (_, port):
        with pytest.raises(OSError, match=r".*"):
            await new_link(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none", connect_timeout_ms=500).start()


async def test_tls_to_sentinels_and_to_whom_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ssl=true`: sentinels and Redis have to prove themselves alike; a sentinel that can not is not believed."""
    monkeypatch.setattr("gateway.hot.sentinel.ASK_S_MAX", 10.0)
    ports: list[int] = []

    def naming(_command: list[str]) -> bytes:
        return array("127.0.0.1", str(ports[0]))

    query = f"ssl=true&ssl_ca_certs={CERTIFICATE}"
    async with (
        stub_server(echo, server_side()) as (_, port),
        stub_server(naming, server_side()) as (_, sentinel),
        stub_server(naming) as (_, plain),
    ):
        ports.append(port)
        async with linked(f"redis+sentinel://localhost:{sentinel}/shop?{query}") as link:
            assert await link.call("ECHO", "hello") == "hello"
        for place, trust in ((plain, query), (sentinel, "ssl=true")):
            with pytest.raises(Refused, match=r"can not be asked|does not answer"):
                await new_link(f"redis+sentinel://localhost:{place}/shop?{trust}").start()
