"""A gateway that can not work with what it was given says so in one clear line, without a secret, and ends with status 2."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.app import REFUSED, serve
from gateway.embedded import PrivateRedis
from gateway.settings import Settings
from tests.app.peers import Answer, closes, peer, redis_of_version, says_nothing, speaks_http
from tests.contract.sql import run_sql
from tests.service.gateway import running
from tests.service.stores import Stores

PASSWORD = "open-sesame-4711"
OPEN_HOST = "0.0.0.0"  # noqa: S104 - what must be refused


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """A process that served has its own ideas of logs and of the collector; the tests go on with theirs."""
    root, structure = logging.getLogger(), structlog.get_config()
    level, handlers, threshold = root.level, list(root.handlers), gc.get_threshold()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**structure)
    gc.set_threshold(*threshold)
    gc.unfreeze()


def refusal(capsys: pytest.CaptureFixture[str], settings: Settings) -> str:
    """The reason that a start with these settings ends with: the last line, the only one of its kind, and no traceback."""
    capsys.readouterr()  # what was said before is not this start's
    assert serve(settings, sample=False, read_settings=lambda: settings) == REFUSED
    told = capsys.readouterr()
    assert told.out == ""
    assert PASSWORD not in told.err
    assert "Traceback" not in told.err
    lines = [json.loads(line) for line in told.err.splitlines()]
    assert [line["event"] for line in lines].count("start_refused") == 1
    assert (lines[-1]["event"], lines[-1]["level"]) == ("start_refused", "error")
    return str(lines[-1]["reason"])


def changed(stores: Stores, **values: Any) -> Settings:
    """The settings of these stores with some values of their own."""
    return Settings(**{name: getattr(stores.settings(), name) for name in Settings.model_fields} | values)


def test_refusal_of_a_port_that_is_taken(capsys: pytest.CaptureFixture[str], stores: Stores) -> None:
    """Another process listens there already: the address and the setting are named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        reason = refusal(capsys, changed(stores, port=port))
    assert f"127.0.0.1:{port}" in reason
    assert "GATEWAY_PORT" in reason


@pytest.mark.parametrize("host", [OPEN_HOST, "::", "192.0.2.7"])
def test_refusal_of_an_open_address_without_a_key(
    capsys: pytest.CaptureFixture[str], stores: Stores, host: str
) -> None:
    """Where others can reach it, a gateway without a key does not serve."""
    reason = refusal(capsys, changed(stores, host=host))
    assert host in reason
    assert "GATEWAY_BOOTSTRAP_KEY" in reason


def test_refusal_of_a_redis_that_evicts(
    capsys: pytest.CaptureFixture[str], own_redis: PrivateRedis, sqlite_url: str
) -> None:
    """A server that throws keys away when memory is short would throw stock away."""
    command(own_redis, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    reason = refusal(capsys, Stores(own_redis.url, sqlite_url).settings())
    assert "allkeys-lru" in reason
    assert "noeviction" in reason


def test_refusal_of_a_replica(capsys: pytest.CaptureFixture[str], own_redis: PrivateRedis, sqlite_url: str) -> None:
    """What is written to a replica is lost: the primary is asked for."""
    command(own_redis, "REPLICAOF", "127.0.0.1", "1")
    reason = refusal(capsys, Stores(own_redis.url, sqlite_url).settings())
    assert "slave" in reason
    assert "primary" in reason


@pytest.mark.parametrize("given", ["", "not-" + PASSWORD])
def test_refusal_of_a_wrong_password(
    capsys: pytest.CaptureFixture[str], own_redis: PrivateRedis, sqlite_url: str, given: str
) -> None:
    """A password that is wrong or missing is told as that; neither the right nor the given one is shown."""
    command(own_redis, "CONFIG", "SET", "requirepass", "another-secret-1")
    url = own_redis.url.replace("unix://", f"unix://:{given}@") if given else own_redis.url
    reason = refusal(capsys, Stores(url, sqlite_url).settings())
    assert "GATEWAY_REDIS_URL" in reason
    assert ("WRONGPASS" if given else "NOAUTH") in reason
    assert "another-secret-1" not in reason


@pytest.mark.parametrize("version", ["6.2.14", "5.0.7"])
def test_refusal_of_a_redis_that_is_too_old(capsys: pytest.CaptureFixture[str], sqlite_url: str, version: str) -> None:
    """A server from before functions is named with its version and what is needed."""
    with peer(redis_of_version(version)) as url:
        reason = refusal(capsys, Stores(url, sqlite_url).settings())
    assert f"Redis {version} is too old" in reason
    assert "7" in reason


@pytest.mark.parametrize("answer", [closes, speaks_http, says_nothing])
def test_refusal_of_a_server_that_is_no_redis(
    capsys: pytest.CaptureFixture[str], sqlite_url: str, answer: Answer
) -> None:
    """A port where something else listens, hangs up or hangs, is told as a Redis that can not be used."""
    with peer(answer) as url:
        stores = Stores(f"{url.replace('//', f'//:{PASSWORD}@')}", sqlite_url, command_timeout_ms=300)
        stores.connect_timeout_ms = 300
        reason = refusal(capsys, stores.settings())
    assert "Redis can not be used" in reason
    assert "GATEWAY_REDIS_URL" in reason


def test_refusal_of_a_port_where_nobody_listens(capsys: pytest.CaptureFixture[str], sqlite_url: str) -> None:
    """Nothing there: the address is named without its password."""
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    reason = refusal(capsys, Stores(f"redis://:{PASSWORD}@127.0.0.1:{port}", sqlite_url).settings())
    assert str(port) in reason


def test_refusal_of_a_newer_schema(capsys: pytest.CaptureFixture[str], stores: Stores) -> None:
    """A durable store that a newer version has migrated is left alone."""
    asyncio.run(served_once(stores))
    asyncio.run(run_sql(stores.database_url, "UPDATE schema_version SET version_num = '9999'"))
    reason = refusal(capsys, stores.settings())
    assert "the durable store" in reason
    assert "newer" in reason


async def served_once(stores: Stores) -> None:
    """A gateway has worked on these stores."""
    async with running(stores):
        pass


def test_refusal_of_a_store_with_another_prefix(capsys: pytest.CaptureFixture[str], stores: Stores) -> None:
    """A durable store of a deployment with another prefix is not written to."""
    asyncio.run(served_once(stores))
    stores.prefix = "other"
    reason = refusal(capsys, stores.settings())
    assert "the durable store belongs to a deployment with other settings" in reason
    assert "'other'" in reason


@pytest.mark.parametrize("setting", ["shards = 2", "hash = 'fnv'"])
def test_refusal_of_a_store_with_other_shards(capsys: pytest.CaptureFixture[str], stores: Stores, setting: str) -> None:
    """A durable store whose stock is divided otherwise would have one sku in two shards: both values are named."""
    asyncio.run(served_once(stores))
    asyncio.run(run_sql(stores.database_url, f"UPDATE deployments SET {setting}"))
    reason = refusal(capsys, stores.settings())
    assert "the durable store belongs to a deployment with other settings" in reason
    assert setting.partition(" = ")[2] in reason


def test_refusal_of_a_redis_of_another_deployment(
    capsys: pytest.CaptureFixture[str], stores: Stores, tmp_path: Path
) -> None:
    """A Redis that another deployment works with under the same prefix is not touched."""
    asyncio.run(served_once(stores))
    reason = refusal(capsys, Stores(stores.redis_url, f"sqlite:///{tmp_path / 'another.db'}").settings())
    assert "another deployment" in reason


def test_refusal_of_a_database_that_is_not_there(capsys: pytest.CaptureFixture[str], stores: Stores) -> None:
    """A durable store that can not be reached is told without its password."""
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    stores.database_url = f"postgresql://gateway:{PASSWORD}@127.0.0.1:{port}/stock"
    assert "the durable store" in refusal(capsys, stores.settings())
    stores.database_url = "sqlite:////no/such/folder/gateway.db"
    assert "the durable store" in refusal(capsys, stores.settings())


def test_refusal_of_a_log_that_a_newer_version_wrote(capsys: pytest.CaptureFixture[str], stores: Stores) -> None:
    """A log with a line of an unknown kind in its tail, which has to be taken over, ends the start with a word on it."""
    asyncio.run(written_by_a_newer_version(stores))
    reason = refusal(capsys, stores.settings())
    assert "cannot be read" in reason


async def written_by_a_newer_version(stores: Stores) -> None:
    """The log ends with an entry that has a line of another kind, and the shard must be taken over."""
    from gateway.domain.event import chain

    async with running(stores, is_flushing=False, is_drained=False) as gateway:
        meta, log = gateway.shard.keys.meta, gateway.shard.keys.log
        payload = f"E\t2\t1\tstock.counted\t{await gateway.clock_ms()}\tmain\tkey:test\t\t\t\nZ\tnew"
        link = chain(await gateway.redis("HGET", meta, "digest"), payload)
        await gateway.redis("XADD", log, "2-0", "e", payload, "d", link)
        await gateway.redis("HSET", meta, "seq", 2, "digest", link, "poison", "a test")


def test_refusal_is_the_exit_status_of_the_process(stores: Stores) -> None:
    """The command itself: status 2, one line on stderr with the reason, nothing on stdout, no password in either."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    environment |= {
        "GATEWAY_REDIS_URL": stores.redis_url.replace("unix://", f"unix://:{PASSWORD}@"),
        "GATEWAY_DATABASE_URL": stores.database_url,
        "GATEWAY_PORT": "0",
        "GATEWAY_HOST": OPEN_HOST,
    }
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert json.loads(done.stderr.splitlines()[-1])["event"] == "start_refused"
    assert PASSWORD not in done.stderr


def command(server: PrivateRedis, *words: str) -> None:
    """The server has done it."""
    import redis

    with redis.Redis.from_url(server.url) as client:
        client.execute_command(*words)
