"""The servers that the fixtures give to every test are what they promise."""

from __future__ import annotations

import asyncpg
import redis

from tests.embedded.test_postgres import ask
from tests.servers import Databases, RedisServers, fresh_database, remove_keys


async def test_postgres_url_is_an_empty_database_of_its_own(postgres_url: str) -> None:
    """Each test starts from nothing."""
    count = await ask(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")

    assert count == 0
    assert "gateway_test_" in postgres_url


def test_redis_url_is_as_new_after_a_test_that_left_things(redis_servers: RedisServers) -> None:
    """Keys, scripts and a memory limit of one test are not seen by the next."""
    with redis.Redis.from_url(redis_servers.url("valkey")) as client:
        client.set("left", "1")
        sha = client.script_load("return 1")
        client.config_set("maxmemory", "100mb")

    with redis.Redis.from_url(redis_servers.url("valkey")) as client:
        left = (client.dbsize(), client.script_exists(sha), client.config_get("maxmemory")["maxmemory"])

    assert left == (0, [False], "0")


def test_remove_keys_leaves_what_others_own(valkey_url: str) -> None:
    """On a server that is not ours only the keys of this test go."""
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        client.mset({"{tabc:0}:meta": 1, "tabc:x": 1, "theirs": 1})

        remove_keys(valkey_url, "tabc")

        assert client.keys() == ["theirs"]


async def test_databases_lend_one_that_was_given_back_only_when_it_is_empty(postgres_url: str) -> None:
    """A test that left tables, settings and a connection open leaves nothing of it to the next one."""
    databases = Databases(postgres_url)
    with fresh_database(databases) as url:
        name = url.rpartition("/")[2]
        left_open = await asyncpg.connect(url)
        await left_open.execute("CREATE SCHEMA other CREATE TABLE left_there (x int); CREATE TABLE left_too (x int)")
        await left_open.execute(f"ALTER DATABASE \"{name}\" SET synchronous_commit = 'off'")

    with fresh_database(databases) as again, fresh_database(databases) as another:
        assert again == url
        assert another != url
        assert await ask(again, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'left%'") == 0
        assert await ask(again, "SELECT count(*) FROM pg_namespace WHERE nspname IN ('public', 'other')") == 1
        assert await ask(again, "SHOW synchronous_commit") == "on"
    left_open.terminate()

    databases.drop()

    assert await ask(postgres_url, f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == 0
