"""A full Redis refuses what needs memory and goes on with what frees it; what is settled leaves no trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.domain.errors import HotStoreUnavailable
from gateway.hot.operations import sku_fields
from tests.lua.audit import audit
from tests.lua.conftest import socket_link
from tests.lua.warehouse import Call, Warehouse, told, wish
from tests.servers import RedisServers, redis_ids

OWN_SERVERS = [server_id for server_id in redis_ids() if server_id != "given"]  # a given one is not ours to fill


@pytest.fixture(params=OWN_SERVERS)
async def warehouse(request: pytest.FixtureRequest, redis_servers: RedisServers) -> AsyncIterator[Warehouse]:
    """A shard on a server whose memory may be limited; the next test's `url` lifts the limit."""
    link = socket_link(redis_servers.url(request.param))
    await link.start()
    warehouse = await Warehouse.open(link, "memory")
    yield warehouse
    await warehouse.call("CONFIG", "SET", "maxmemory", "0")
    try:
        await audit(warehouse)
    finally:
        await link.close()


async def used_memory(warehouse: Warehouse) -> int:
    """What the server has allocated."""
    text = await warehouse.call("INFO", "memory")
    return int(next(line for line in text.splitlines() if line.startswith("used_memory:")).split(":")[1])


async def fill(warehouse: Warehouse) -> None:
    """The server has less memory than it uses: commands that need more are refused."""
    await warehouse.call("CONFIG", "SET", "maxmemory", "1")


async def call_of(warehouse: Warehouse, name: str) -> Call:
    """A call that is all right but for the memory."""
    for sku in "ABC":
        await warehouse.stock(sku, 10)
    held, sold = await warehouse.hold(wish("A", 2)), await warehouse.sell(wish("B", 2))
    await warehouse.hold(wish("C", 2), ttl_ms=1)
    await warehouse.advance(1)
    await warehouse.remember()
    calls = {
        "reserve": warehouse.reserve(wish("A", 1)),
        "extend": warehouse.extend(held),
        "put": warehouse.put("A", on_hand=12),
        "adjust": warehouse.adjust("A", 3),
        "pause": warehouse.pause("A"),
        "batch": warehouse.as_batch(warehouse.release(held)),
        "confirm": warehouse.confirm(held),
        "fulfil": warehouse.fulfil(sold),
        "release": warehouse.release(held),
        "expire": warehouse.expire(),
        "read_sku": warehouse.read_sku("C"),
        "read_reservation": warehouse.read_reservation(held.id),
        "ticket": warehouse.ticket("s:main/D"),
        "settle": Call("settle", (), ("5", "60000", "60000", "60000", "s:main/B", f"r:{sold.id.random_part}")),
    }
    return calls[name]


@pytest.mark.parametrize("script", ["reserve", "extend", "put", "adjust", "pause", "batch"])
async def test_full_redis_refuses_what_needs_memory(warehouse: Warehouse, script: str) -> None:
    """OOM is told as not_applied, and it is: nothing changed. With memory again the same call works."""
    call = await call_of(warehouse, script)
    await fill(warehouse)
    before = await warehouse.snapshot()

    with pytest.raises(HotStoreUnavailable, match="OOM") as refused:
        await warehouse.run(call)
    unchanged = await warehouse.snapshot() == before
    await warehouse.call("CONFIG", "SET", "maxmemory", "0")
    answer = await warehouse.run(call)

    assert (refused.value.outcome, unchanged) == ("not_applied", True)
    assert answer.status in ("RESERVED", "EXTENDED", "APPLIED", "ADJUSTED", "BATCH")


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("confirm", "CONFIRMED"),
        ("fulfil", "FULFILLED"),
        ("release", "RELEASED"),
        ("expire", "SWEPT"),
        ("read_sku", "SKUS"),
        ("read_reservation", "FOUND"),
        ("settle", "SETTLED"),
        ("ticket", "TAKEN"),
    ],
)
async def test_full_redis_goes_on_with_what_frees(warehouse: Warehouse, script: str, status: str) -> None:
    """Confirm, fulfil, release, expire, settle and reading work on a full server, their log entries included."""
    call = await call_of(warehouse, script)
    await fill(warehouse)

    answer = await warehouse.run(call)

    assert answer.status == status


async def test_full_redis_can_be_opened(warehouse: Warehouse) -> None:
    """A gateway that restarts beside a full server can open its shard: else nothing that frees memory could ever run."""
    await warehouse.stock("A", 10)
    await warehouse.remember()
    meta = await warehouse.content(warehouse.keys.meta)
    await fill(warehouse)

    reply = await warehouse.open_epoch(2, seen=(1, meta["digest"]), seq=int(meta["seq"]), ask_ms=-1, how="adopted")

    assert reply[1] == "OPENED"
    warehouse.shard.open_under(2, 1, warehouse.link.lineage, 0)


@pytest.mark.parametrize("operation", ["release", "fulfil"])
async def test_full_redis_gives_back_a_sale_that_went_cold(warehouse: Warehouse, operation: str) -> None:
    """A confirmed reservation and its sku that were evicted can be loaded to be released or fulfilled, also when it is full."""
    await warehouse.stock("A", 10)
    sold = await warehouse.sell(wish("A", 2))
    await warehouse.settle()
    sku = sku_fields(await warehouse.sku("A"), has_ttl=True)
    packed = await warehouse.call("GET", warehouse.keys.reservation(sold.id.random_part))
    await warehouse.call("DEL", warehouse.keys.sku("main", "A"), warehouse.keys.reservation(sold.id.random_part))
    keys = warehouse.keys
    await fill(warehouse)

    loaded = []
    for name, texts in (("s:main/A", sku), (f"r:{sold.id.random_part}", [packed])):
        assert (await warehouse.run(warehouse.ticket(name))).status == "TAKEN"
        reply = await warehouse.shard.ask_script(
            "load", (keys.meta, keys.named(name), keys.ticket(name)), "n", 1, "token", 60_000, *texts
        )
        loaded.append(reply[1])
    answer = await warehouse.run(getattr(warehouse, operation)(sold))

    assert loaded == ["LOADED", "LOADED"]
    assert answer.status == ("RELEASED" if operation == "release" else "FULFILLED")


async def test_memory_is_back_to_the_empty_size(warehouse: Warehouse) -> None:
    """After settling and the lives of what is settled, only meta and the anchor of the log are left, and the memory is free."""
    await _trade(warehouse, "warm", 1000)  # the server's own tables have grown
    await _forget_all(warehouse)
    empty_bytes = await used_memory(warehouse)

    await _trade(warehouse, "S", 1000)
    full_bytes = await used_memory(warehouse)
    await _forget_all(warehouse)

    assert await warehouse.all_keys() == sorted([warehouse.keys.meta, warehouse.keys.log])
    assert len(await warehouse.content(warehouse.keys.log)) == 1
    allowed_bytes = empty_bytes + (full_bytes - empty_bytes) / 20
    async with asyncio.timeout(90):  # the server shrinks the buffers of a connection once it has been idle
        while await used_memory(warehouse) > allowed_bytes:  # noqa: ASYNC110 - the server tells nobody when it has
            await asyncio.sleep(2.5)


async def _trade(warehouse: Warehouse, name: str, count: int) -> None:
    """So many reservations over a hundred skus, each to its end; records and adjustments with them."""
    for n in range(100):
        await warehouse.stock(f"{name}{n}", 1000)
    holds = [await warehouse.hold(wish(f"{name}{n % 100}", 1), key=f"{name}-{n}", ttl_ms=1000) for n in range(count)]
    for n, r in enumerate(holds):
        if n % 4 == 0:
            await warehouse.run(warehouse.release(r))
        elif n % 4 == 1:
            await warehouse.run(warehouse.confirm(r, fulfil=True))
        elif n % 4 == 2:
            sold = told(await warehouse.run(warehouse.confirm(r)))
            await warehouse.run(warehouse.put(sold.lines[0].sku, on_hand=1000, reflects=[r.id]))
    await warehouse.run(warehouse.adjust(f"{name}0", 1))
    await warehouse.advance(1000)
    for _ in range(count // 64 + 2):
        await warehouse.run(warehouse.expire())


async def _forget_all(warehouse: Warehouse) -> None:
    """All is settled with lives of a millisecond, and these are over."""
    await warehouse.settle(idle_ms=1, ended_ms=1, retention_ms=1)
    left = True
    while left:  # until the server's own sweep of ended keys has come by
        left = any(
            warehouse.keys.base + kind in key for key in await warehouse.all_keys() for kind in ("s:", "r:", "q:")
        )
    await warehouse.call("MEMORY", "PURGE")


async def test_memory_of_an_open_reservation(warehouse: Warehouse) -> None:
    """At most 400 bytes for an open single-line reservation without a key, the log not counted."""
    count = 5000
    await warehouse.stock("85123A", 1_000_000)
    calls = [warehouse.reserve(wish("85123A", 2), reference="cart-17", ttl_ms=300_000 + n) for n in range(count)]
    before = await used_memory(warehouse) - await _log_bytes(warehouse)

    for at in range(0, count, 500):
        await asyncio.gather(*[warehouse.run(call) for call in calls[at : at + 500]])

    each = (await used_memory(warehouse) - await _log_bytes(warehouse) - before) / count
    print(f"{each:.0f} bytes per open reservation")
    assert each <= 400


async def _log_bytes(warehouse: Warehouse) -> int:
    return int(await warehouse.call("MEMORY", "USAGE", warehouse.keys.log, "SAMPLES", "0"))
