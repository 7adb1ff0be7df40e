"""restore_holds, restore_index, restore_skus: a generation that nobody reads yet is filled from the durable store."""

from __future__ import annotations

import pytest

from gateway.domain.identifier import ReservationId
from gateway.domain.reservation import Line, Reservation
from gateway.domain.stock import Level, Sku, SourceEntry
from gateway.hot.keys import Keys
from gateway.hot.operations import sku_fields
from tests.lua.warehouse import Warehouse

EPOCH = 7
SCRIPTS = ("restore_holds", "restore_index", "restore_skus")
ONE_CALL: dict[str, tuple[str | int, ...]] = {
    "restore_holds": ("id1", "h\t…"),
    "restore_index": ("=", "main/A", 50, "id1", "Hmain", 2),
    "restore_skus": ("=", "main/A", "*", "0 0 0 0 0\t", "Lmain", "5 0 0 0 0 1 1 1 1"),
}


def new_keys(warehouse: Warehouse) -> Keys:
    """The names of the generation that is filled."""
    return Keys(warehouse.shard.prefix, 0, EPOCH)


async def begin(warehouse: Warehouse) -> Keys:
    """The generation carries its mark."""
    keys = new_keys(warehouse)
    await warehouse.call("SET", keys.restoring, EPOCH)
    return keys


async def restore(warehouse: Warehouse, script: str, *arguments: str | int, epoch: int = EPOCH) -> list[str]:
    """Status and fields of one call."""
    keys = new_keys(warehouse)
    names = (keys.meta, keys.log, keys.due)
    reply = await warehouse.shard.ask_script(script, names, "n", epoch, *arguments)
    assert reply[0] == "n"
    return reply[1:]


def hold(seq: int, *lines: Line) -> Reservation:
    """A hold of these lines, due at `seq`."""
    id = ReservationId(0, 1, seq, f"id{seq}")
    return Reservation(id, "held", seq, 1, seq, 1, None, None, "main", "cart", "", "", "", "", list(lines))


def sku(name: str, **held: int) -> Sku:
    """A sku whose levels hold these units, by location."""
    sources = {"erp": SourceEntry("erp", 3, 4, "aa")}
    levels = {place: Level(place, 100, units, 2, 4, 0, 9, 1, 5, 77, dict(sources)) for place, units in held.items()}
    return Sku("main", name, True, "recall", levels, 1, 4)


def told(one: Sku) -> list[str]:
    """The sku as `restore_skus` takes it."""
    return ["=", f"{one.shop}/{one.sku}", *sku_fields(one, has_ttl=False)]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("mark", ["none", "of another epoch"])
async def test_restore_without_its_mark_writes_nothing(warehouse: Warehouse, script: str, mark: str) -> None:
    """GONE: when Redis was emptied, another recovers, or the shard is open by now, a call that comes late changes nothing."""
    if mark != "none":
        await warehouse.call("SET", new_keys(warehouse).restoring, EPOCH + 1)
    before = await warehouse.snapshot()

    reply = await restore(warehouse, script, *ONE_CALL[script])

    assert reply == ["GONE"]
    assert await warehouse.snapshot() == before
    await warehouse.call("DEL", new_keys(warehouse).restoring)


async def test_restore_holds_keeps_every_text(warehouse: Warehouse) -> None:
    """RESTORED: each reservation is there under its random part, to the byte, without an end of its life; also many at once."""
    warehouse.is_damaged = True
    keys = await begin(warehouse)
    holds = [hold(seq, Line("A", "main", 1)) for seq in range(1, 1202)]
    words = [word for one in holds for word in (one.id.random_part, one.pack())]

    replies = [await restore(warehouse, "restore_holds", *words) for _ in range(2)]

    assert replies == [["RESTORED"], ["RESTORED"]]
    for one in (holds[0], holds[500], holds[-1]):
        assert await warehouse.call("GET", keys.reservation(one.id.random_part)) == one.pack()
        assert await warehouse.call("PTTL", keys.reservation(one.id.random_part)) == -1


async def test_restore_index_counts_a_call_once(warehouse: Warehouse) -> None:
    """A call whose reply was lost is made again: the entries are there once, and the units count once, at every location."""
    warehouse.is_damaged = True
    keys = await begin(warehouse)
    first = ("=", "main/A", 50, "id1", 40, "id2", "Hmain", 3, "Hhall", 4, "=", "main/B", 60, "id1", "Hmain", 1)

    replies = [await restore(warehouse, "restore_index", *first) for _ in range(2)]
    more = await restore(warehouse, "restore_index", "=", "main/A", 30, "id3", "Hhall", 5)

    assert [*replies, more] == [["RESTORED"]] * 3
    assert await warehouse.content(keys.holds("main", "A")) == {"id1": 50, "id2": 40, "id3": 30}
    assert await warehouse.content(keys.holds("main", "B")) == {"id1": 60}
    assert await warehouse.content(keys.sku("main", "A")) == {"Hmain": "3", "Hhall": "9"}
    assert await warehouse.content(keys.sku("main", "B")) == {"Hmain": "1"}


async def test_restore_index_takes_a_sku_with_very_many_holds(warehouse: Warehouse) -> None:
    """More entries of one sku than one command of Lua can carry all come in."""
    warehouse.is_damaged = True
    keys = await begin(warehouse)
    dues = [word for seq in range(1, 9001) for word in (str(seq), f"id{seq}")]

    reply = await restore(warehouse, "restore_index", "=", "main/A", *dues, "Hmain", 9000)

    assert reply == ["RESTORED"]
    assert await warehouse.call("ZCARD", keys.holds("main", "A")) == 9000
    assert await warehouse.content(keys.sku("main", "A")) == {"Hmain": "9000"}


async def test_restore_skus_installs_what_agrees_with_its_holds(warehouse: Warehouse) -> None:
    """RESTORED: the sku is complete, what was noted is gone, and the shard's index has its earliest deadline; also when repeated."""
    warehouse.is_damaged = True
    keys = await begin(warehouse)
    await restore(warehouse, "restore_index", "=", "main/A", 50, "id1", 40, "id2", "Hmain", 3, "Hhall", 4)
    one, sold = sku("A", main=3, hall=4, yard=0), sku("B", main=0)

    replies = [await restore(warehouse, "restore_skus", *told(one), *told(sold)) for _ in range(2)]

    assert replies == [["RESTORED", "7", "1"]] * 2
    assert await warehouse.content(keys.due) == {"main/A": 40}
    fields = sku_fields(one, next_due_ms=40, has_ttl=False)
    assert await warehouse.content(keys.sku("main", "A")) == dict(zip(fields[::2], fields[1::2], strict=True))
    assert await warehouse.content(keys.sku("main", "B")) == "none"  # only sold: it is loaded when it is wanted


@pytest.mark.parametrize(
    ("level", "difference"),
    [
        (sku("B", main=2, hall=4), ["main/B", "main", "2", "3"]),
        (sku("B", main=3, hall=5), ["main/B", "hall", "5", "4"]),
        (sku("B", main=3), ["main/B", "hall", "0", "4"]),
        (sku("B", main=3, hall=4, yard=1), ["main/B", "yard", "1", "0"]),
    ],
    ids=["fewer", "more", "no level", "no hold"],
)
async def test_restore_skus_that_count_otherwise_write_nothing(
    warehouse: Warehouse, level: Sku, difference: list[str]
) -> None:
    """DIFFERENT, with the place and both numbers; a sku before it in the call that is right is not written either."""
    warehouse.is_damaged = True
    keys = await begin(warehouse)
    await restore(warehouse, "restore_index", "=", "main/A", 9, "id1", "Hmain", 1)
    await restore(warehouse, "restore_index", "=", "main/B", 9, "id1", "Hmain", 3, "Hhall", 4)

    reply = await restore(warehouse, "restore_skus", *told(sku("A", main=1)), *told(level))

    assert reply == ["DIFFERENT", *difference]
    assert await warehouse.content(keys.sku("main", "A")) == {"Hmain": "1"}
    assert await warehouse.content(keys.due) == "none"


async def test_restore_skus_with_very_many_locations(warehouse: Warehouse) -> None:
    """A sku comes back whole, however many levels sources have made for it."""
    warehouse.is_damaged = True
    keys = await begin(warehouse)
    places = {f"l{at}": 1 for at in range(2500)}
    noted = [word for place in places for word in (f"H{place}", "1")]
    await restore(warehouse, "restore_index", "=", "main/A", 9, "id1", *noted)

    reply = await restore(warehouse, "restore_skus", *told(sku("A", **places)))

    assert reply == ["RESTORED", "2500", "1"]
    assert await warehouse.call("HLEN", keys.sku("main", "A")) == 1 + 2 * 2500
