"""Fixtures for every test: real servers by URL. What they promise stands in `tests/servers.py`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from gateway.durable import postgres, postgres_append, postgres_transaction, sqlite_connection
from gateway.embedded import PrivateRedis
from tests.servers import (
    Databases,
    RedisServers,
    fresh_database,
    postgres_server,
    redis_binary,
    redis_ids,
    remove_keys,
    short_folder,
)

# A machine may be busy, and on a fresh one the first example waits for tables of Unicode: seconds say nothing about a property.
settings.register_profile("gateway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gateway")

# A traceback with the values of its variables takes seconds to draw, and a test's own loop stands still for as long.
plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


@pytest.fixture(scope="session")
def redis_servers() -> Iterator[RedisServers]:
    """The Redis servers of this pytest process; under pytest-xdist each worker has its own."""
    with short_folder() as folder:
        servers = RedisServers(folder)
        try:
            yield servers
        finally:
            servers.stop()


@pytest.fixture(params=redis_ids())
def redis_id(request: pytest.FixtureRequest) -> str:
    """`valkey`, `redis7` or `given`: a test that asks for it runs once on each."""
    return str(request.param)


@pytest.fixture
def redis_prefix(redis_id: str, redis_servers: RedisServers) -> Iterator[str]:
    """A random key prefix: on a given server it keeps tests apart, and its keys go after the test."""
    prefix = f"t{secrets.token_hex(6)}"
    yield prefix
    if redis_id == "given":
        remove_keys(redis_servers.url(redis_id), prefix)


@pytest.fixture
def redis_url(redis_id: str, redis_servers: RedisServers, redis_prefix: str) -> str:
    """A real server. Ours is as new; on a given one stay under `redis_prefix`."""
    return redis_servers.url(redis_id)


@pytest.fixture
def valkey_url(redis_servers: RedisServers) -> str:
    """The Valkey of the wheel alone, empty: for tests that a second server would teach nothing."""
    return redis_servers.url("valkey")


@pytest.fixture
def own_redis(short_path: Path) -> Iterator[PrivateRedis]:
    """A Valkey for this test alone, running: to stop, kill, fill or restart."""
    server = PrivateRedis(short_path / "redis", redis_binary("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder short enough for unix sockets and open to PostgreSQL's user; `tmp_path` is neither."""
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """The PostgreSQL server of this pytest process."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_url(databases: Databases) -> Iterator[str]:
    """An empty PostgreSQL database for this test alone: `postgresql://…`."""
    with fresh_database(databases) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet: `sqlite:////…/gateway.db`."""
    return f"sqlite:///{tmp_path / 'gateway.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty durable store: the test runs once on each kind. Only the kind that is asked for is started."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def patient_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a lock of the durable store, or holds one and is silent, has longer than a machine may stand still.

    For tests in which writers of this one process meet: while it stands still, what the gateway grants them would run out.
    """
    begin = postgres_transaction.BEGIN
    for name, granted in (("lock_timeout", "2s"), ("idle_in_transaction_session_timeout", "3s")):
        assert f"{name} = '{granted}'" in begin
        begin = begin.replace(f"{name} = '{granted}'", f"{name} = '60s'")
    for module in (postgres, postgres_append):
        monkeypatch.setattr(module, "BEGIN", begin)
    monkeypatch.setattr(sqlite_connection, "BUSY_SECONDS", 60.0)
