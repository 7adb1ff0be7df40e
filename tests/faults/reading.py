"""What stands in both stores, read with plain clients of their own."""

from __future__ import annotations

import time
from typing import Any

import asyncpg
import redis

from tests.faults.stores import Counters, Held, Place, Row, Stores, parse_held

META = "{rg0}:meta"
PAGE = 1000


async def read_stores(redis_url: str, postgres_url: str) -> Stores:
    """Both stores of a deployment with the default prefix and one shard. Meant for a deployment at rest."""
    stores = Stores(read_ms=time.time_ns() // 1_000_000)
    await _read_durable(stores, postgres_url)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        _read_hot(stores, client)
    return stores


async def lag_of(redis_url: str, postgres_url: str) -> tuple[int, float]:
    """Events that are not committed, and seconds until the next hold falls due (a day when there is none)."""
    connection = await asyncpg.connect(postgres_url)
    try:
        checkpoint = await connection.fetchval("SELECT checkpoint FROM shards WHERE shard = 0")
    finally:
        await connection.close()
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        meta: Any = client.hgetall(META)
        due: Any = client.zrange(f"{{rg0}}:{meta['gen']}:due", 0, 0, withscores=True)
    return int(meta["seq"]) - int(checkpoint), due[0][1] / 1000 - time.time() if due else 86_400.0


async def checkpoint_and_epoch(postgres_url: str) -> tuple[int, int]:
    """How far the shard's row is, and under which epoch."""
    connection = await asyncpg.connect(postgres_url)
    try:
        row = await connection.fetchrow("SELECT checkpoint, epoch FROM shards WHERE shard = 0")
    finally:
        await connection.close()
    return int(row["checkpoint"]), int(row["epoch"])


async def epoch_and_digests(postgres_url: str) -> tuple[int, set[str]]:
    """The shard's epoch, and the digest of every entry that is committed, at this moment."""
    connection = await asyncpg.connect(postgres_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            epoch = await connection.fetchval("SELECT epoch FROM shards WHERE shard = 0")
            rows = await connection.fetch("SELECT DISTINCT digest FROM events WHERE shard = 0")
    finally:
        await connection.close()
    return int(epoch), {row["digest"] for row in rows}


async def _read_durable(stores: Stores, url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            shard = await connection.fetchrow("SELECT * FROM shards WHERE shard = 0")
            ends = await connection.fetch("SELECT epoch, end_seq FROM epoch_history WHERE shard = 0")
            events = await connection.fetch("SELECT * FROM events WHERE shard = 0 ORDER BY seq, entry_seq")
            levels = await connection.fetch("SELECT * FROM levels")
            reservations = await connection.fetch("SELECT id, packed FROM reservations")
            requests = await connection.fetch("SELECT record, operation, target FROM requests")
    finally:
        await connection.close()
    if shard is None:
        raise ValueError("the durable store has no shard: no gateway ever opened it")
    stores.checkpoint, stores.epoch, stores.digest = shard["checkpoint"], shard["epoch"], shard["digest"]
    stores.epoch_ends = {row["epoch"]: row["end_seq"] for row in ends}
    names = ("seq", "epoch", "entry_seq", "type", "at_ms", "shop", "payload", "digest")
    stores.rows = [Row(*(row[name] for name in names)) for row in events]
    stores.levels = {(row["shop"], row["sku"], row["location"]): _durable_counters(row) for row in levels}
    stores.reservations = {row["id"]: parse_held(row["id"], row["packed"]) for row in reservations}
    stores.requests = {row["record"]: (row["operation"], row["target"]) for row in requests}


def _durable_counters(row: Any) -> Counters:
    return (row["on_hand"], row["held"], row["committed"], row["deducted"], row["safety_stock"])


def _read_hot(stores: Stores, client: redis.Redis) -> None:
    meta: Any = client.hgetall(META)
    base = f"{{rg0}}:{meta['gen']}:"
    stores.hot_seq = int(meta["seq"])
    cursor = -1
    while cursor:
        page: Any = client.scan(max(cursor, 0), f"{base}*", PAGE)
        cursor, names = page
        _read_page(stores, client, [name.removeprefix(base).partition(":") for name in names], names)
    due: Any = client.zrange(f"{base}due", 0, -1, withscores=True)
    stores.hot_due = {name: int(deadline) for name, deadline in due}


def _read_page(stores: Stores, client: redis.Redis, parts: list[tuple[str, str, str]], names: list[str]) -> None:
    pipeline = client.pipeline(transaction=False)
    asked = {"s": pipeline.hgetall, "r": pipeline.get, "d": lambda name: pipeline.zrange(name, 0, -1, withscores=True)}
    wanted = [
        (kind, rest, asked[kind](name)) for (kind, _, rest), name in zip(parts, names, strict=True) if kind in asked
    ]
    for (kind, rest, _), value in zip(wanted, pipeline.execute(), strict=True):
        if kind == "s":
            stores.hot_levels |= _levels(rest, value)
        elif kind == "r":
            stores.hot_reservations[rest] = _held(rest, value)
        else:
            stores.hot_holds[rest] = {id: int(deadline) for id, deadline in value}


def _held(id: str, text: Any) -> Held:
    return parse_held(id, str(text))


def _levels(name: str, fields: Any) -> dict[Place, Counters]:
    shop, _, sku = name.partition("/")
    found: dict[Place, Counters] = {}
    for field, text in fields.items():
        if field.startswith("L"):
            on_hand, held, committed, deducted, safety = map(int, text.split(" ")[:5])
            found[shop, sku, field[1:]] = (on_hand, held, committed, deducted, safety)
    return found
