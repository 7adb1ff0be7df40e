"""load: what was read from the durable store is in Redis, unless it was overtaken."""

from __future__ import annotations

import pytest

from gateway.domain.stock import Level, Sku, SourceEntry
from gateway.hot.operations import parse_sku, sku_fields
from tests.lua.warehouse import Warehouse, wish

MINE = "my ticket"


async def load(warehouse: Warehouse, name: str, *texts: str, token: str = MINE, epoch: int = 1, ttl_ms: int = 0) -> str:
    """The status of one load."""
    keys = warehouse.keys
    names = (keys.meta, keys.named(name), keys.ticket(name))
    reply = await warehouse.shard.ask_script("load", names, "n", epoch, token, ttl_ms, *texts)
    assert reply[0] == "n"
    return reply[1]


async def take_ticket(warehouse: Warehouse, name: str, token: str = MINE) -> bool:
    """Whether the ticket was free."""
    return (await warehouse.run(warehouse.ticket(name, token))).status == "TAKEN"


def big_sku() -> Sku:
    """A sku with everything in it that a durable row can hold."""
    sources = {"erp": SourceEntry("erp", 2**53 - 1, 0, "aa"), "wms": SourceEntry("wms", 3, 4, "bb")}
    level = Level("hall.1", 100, 0, 7, 4, -3, 12, 1, 0, 1_900_000_000_000, sources)
    return Sku("main", "A", True, "recall of 100%", {"hall.1": level, "b": Level("b", 0, 0, 0, 0, 0, 1, 1, 0, 5)}, 1, 0)


async def test_load_sku_comes_back_complete(warehouse: Warehouse) -> None:
    """LOADED: counters, fences, pause and version as the durable row has them; the ticket is dropped, the life is set."""
    warehouse.is_damaged = True  # the history of this shard never told this level
    await take_ticket(warehouse, "s:main/A")

    status = await load(warehouse, "s:main/A", *sku_fields(big_sku(), has_ttl=True), ttl_ms=60_000)

    assert status == "LOADED"
    assert await warehouse.sku("A") == big_sku()
    assert 0 < int(await warehouse.call("PTTL", warehouse.keys.sku("main", "A"))) <= 60_000
    assert await warehouse.content(warehouse.keys.ticket("s:main/A")) == "none"


async def test_load_string_with_and_without_a_life(warehouse: Warehouse) -> None:
    """One text is a string: a reservation or a record; ttl 0 leaves it without an end."""
    warehouse.is_damaged = True
    await take_ticket(warehouse, "q:k1")
    await take_ticket(warehouse, "q:k2")

    statuses = [await load(warehouse, "q:k1", "a\tb\tc\t1\t2"), await load(warehouse, "q:k2", "x", ttl_ms=60_000)]

    assert statuses == ["LOADED", "LOADED"]
    assert await warehouse.call("GET", warehouse.keys.request("k1")) == "a\tb\tc\t1\t2"
    assert int(await warehouse.call("PTTL", warehouse.keys.request("k1"))) == -1
    assert 0 < int(await warehouse.call("PTTL", warehouse.keys.request("k2"))) <= 60_000


async def test_load_without_own_live_ticket_is_overtaken(warehouse: Warehouse) -> None:
    """No ticket, or another's: OVERTAKEN, nothing installed, the other's ticket stays."""
    gone = await load(warehouse, "s:main/A", *sku_fields(big_sku(), has_ttl=True))
    await take_ticket(warehouse, "s:main/A", "another")

    foreign = await load(warehouse, "s:main/A", *sku_fields(big_sku(), has_ttl=True))

    assert (gone, foreign) == ("OVERTAKEN", "OVERTAKEN")
    assert await warehouse.content(warehouse.keys.sku("main", "A")) == "none"
    assert await warehouse.call("GET", warehouse.keys.ticket("s:main/A")) == "another"


async def test_load_overtaken_by_load_change_flush_and_eviction(warehouse: Warehouse) -> None:
    """A row read before all that is not installed: its reader's ticket ran out meanwhile and was taken by another."""
    await warehouse.create("A", ttl_ms=60_000)
    await warehouse.run(warehouse.put("A", on_hand=1))
    old = sku_fields(await warehouse.sku("A"), has_ttl=True)
    await warehouse.run(warehouse.put("A", on_hand=2))
    await warehouse.settle()
    new = sku_fields(await warehouse.sku("A"), has_ttl=True)
    await warehouse.call("DEL", warehouse.keys.sku("main", "A"))  # evicted
    await take_ticket(warehouse, "s:main/A", "second reader")

    slow = await load(warehouse, "s:main/A", *old, token="first reader", ttl_ms=60_000)
    fast = await load(warehouse, "s:main/A", *new, token="second reader", ttl_ms=60_000)

    assert (slow, fast) == ("OVERTAKEN", "LOADED")
    assert (await warehouse.level("A")).on_hand == 2


async def test_load_never_overwrites(warehouse: Warehouse) -> None:
    """PRESENT when the item is in Redis: what is there stays, to the last byte."""
    await warehouse.stock("A", 5)
    await take_ticket(warehouse, "s:main/A")
    before = await warehouse.snapshot()

    status = await load(warehouse, "s:main/A", *sku_fields(big_sku(), has_ttl=True))

    assert status == "PRESENT"
    assert await warehouse.snapshot() == before


@pytest.mark.parametrize("epoch", [0, 2])
async def test_load_under_a_wrong_epoch_is_closed(warehouse: Warehouse, epoch: int) -> None:
    """CLOSED for a loader of another epoch, also with a live ticket: nothing is installed."""
    await take_ticket(warehouse, "s:main/A")

    status = await load(warehouse, "s:main/A", *sku_fields(big_sku(), has_ttl=True), epoch=epoch)

    assert status == "CLOSED"
    assert await warehouse.content(warehouse.keys.sku("main", "A")) == "none"


async def test_load_evicted_level_keeps_fence_pause_and_version(warehouse: Warehouse) -> None:
    """After settle, eviction and load a lower sequence is still stale, the sku still paused, the version goes on."""
    await warehouse.stock("A", 5)
    await warehouse.run(warehouse.put("A", on_hand=6, source="wms", sequence=50))
    await warehouse.run(warehouse.pause("A", reason="x"))
    await warehouse.settle()
    sku = await warehouse.sku("A")
    await warehouse.call("DEL", warehouse.keys.sku("main", "A"))

    missing = await warehouse.run(warehouse.put("A", on_hand=7, source="wms", sequence=49))
    await warehouse.install("s:main/A", sku_fields(sku, has_ttl=True), ttl_ms=60_000)
    stale = await warehouse.run(warehouse.put("A", on_hand=7, source="wms", sequence=49))
    paused = await warehouse.run(warehouse.reserve(wish("A", 1)))
    applied = await warehouse.run(warehouse.put("A", on_hand=7, source="wms", sequence=51))

    assert (missing.status, stale.status, paused.status) == ("NOT_LOADED", "STALE", "OUT_OF_STOCK")
    level = parse_sku(applied.fields[0]).levels["main"]
    assert (level.version, level.on_hand) == (3, 7)


async def test_load_a_sku_with_very_many_locations(warehouse: Warehouse) -> None:
    """A sku whose row is there can be loaded, however many levels sources have made for it."""
    warehouse.is_damaged = True
    source = {"erp": SourceEntry("erp", 1, 0, "aa")}
    levels = {name: Level(name, 1, 0, 0, 0, 0, 1, 1, 0, 5, dict(source)) for name in (f"l{n}" for n in range(2500))}
    await take_ticket(warehouse, "s:main/A")

    status = await load(warehouse, "s:main/A", *sku_fields(Sku("main", "A", False, "", levels), has_ttl=True))

    assert status == "LOADED"
    assert (await warehouse.sku("A")).total("on_hand") == 2500
