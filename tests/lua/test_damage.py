"""Keys of a wrong type, entries nobody wrote, a history that ran ahead: nothing is half-written, or the shard is poisoned."""

from __future__ import annotations

import pytest

from gateway.domain.errors import ShardRecovering
from gateway.hot.connection import ReplyError
from tests.lua.test_gates import call_of
from tests.lua.warehouse import Call, Warehouse, wish

MUTATORS = ("reserve", "extend", "confirm", "fulfil", "release", "batch", "put", "adjust", "pause", "expire")


async def plant(warehouse: Warehouse, key: str) -> None:
    """The key holds another type than it should."""
    warehouse.is_damaged = True
    kind = await warehouse.call("TYPE", key)
    await warehouse.call("DEL", key)
    if kind == "list":
        await warehouse.call("SET", key, "planted")
    else:
        await warehouse.call("RPUSH", key, "planted")


async def outcome(warehouse: Warehouse, call: Call) -> str:
    """The status, or ERROR for a script that broke off."""
    try:
        return (await warehouse.raw(call))[1]  # type: ignore[no-any-return]
    except ReplyError:
        return "ERROR"


def targets(warehouse: Warehouse, call: Call) -> list[str]:
    """Every key that the call may touch."""
    keys = warehouse.keys
    named = [keys.meta, keys.log, keys.due, *call.keys]
    named += [keys.named(f"{kind}:main/{sku}") for kind in "sd" for sku in "ABC"]
    return list(dict.fromkeys(named))


@pytest.mark.parametrize("script", MUTATORS)
async def test_wrong_type_of_any_key_leaves_all_as_it_was_or_poisons(warehouse: Warehouse, script: str) -> None:
    """Whatever key is damaged: the call works, or nothing changed, or the shard is poisoned and answers nothing more."""
    call = await call_of(warehouse, script)
    for key in targets(warehouse, call):
        prefix = warehouse.shard.prefix
        copy = await Warehouse.open(warehouse.link, f"{prefix}x{abs(hash((key, script))):x}")
        own_call = await call_of(copy, script)
        own_key = copy.keys.meta.removesuffix("meta") + key.removeprefix(warehouse.keys.meta.removesuffix("meta"))
        if key in call.keys:
            own_key = own_call.keys[call.keys.index(key)]
        await plant(copy, own_key)
        before = await copy.snapshot()

        status = await outcome(copy, own_call)

        after = await copy.snapshot()
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        if status in ("ERROR", "CLOSED", "NOT_LOADED"):
            assert changed == set(), (key, status)
        elif status == "POISONED":
            assert "poison" in after[copy.keys.meta], key
            assert await outcome(copy, copy.reserve(wish("B", 1))) == "POISONED"
        await _drop(copy)


async def _drop(warehouse: Warehouse) -> None:
    for key in await warehouse.all_keys():
        await warehouse.call("DEL", key)


async def test_index_damage_after_the_log_entry_poisons(warehouse: Warehouse) -> None:
    """An error after the first write can not be taken back: meta says poison, its seq stays behind, all calls are refused."""
    await warehouse.stock("A", 5)
    await plant(warehouse, warehouse.keys.holds("main", "A"))
    meta = await warehouse.content(warehouse.keys.meta)

    with pytest.raises(ShardRecovering) as hold:
        await warehouse.run(warehouse.reserve(wish("A", 1)))
    is_open = warehouse.shard.is_open
    warehouse.shard.open_under(1, 1, warehouse.link.lineage, 0)
    with pytest.raises(ShardRecovering) as read:
        await warehouse.run(warehouse.read_sku("A"))

    after = await warehouse.content(warehouse.keys.meta)
    assert (hold.value.outcome, read.value.outcome, is_open) == ("unknown", "unknown", False)
    assert "WRONGTYPE" in after["poison"]
    assert after["seq"] == meta["seq"]


async def test_script_error_before_the_first_write_is_told_and_changes_nothing(warehouse: Warehouse) -> None:
    """A sku of a wrong type: the script fails while it reads; the shard is poisoned, and nothing else is written."""
    await plant(warehouse, warehouse.keys.sku("main", "A"))
    before = await warehouse.snapshot()

    with pytest.raises(ShardRecovering) as told:
        await warehouse.run(warehouse.reserve(wish("A", 1)))

    after = await warehouse.snapshot()
    assert told.value.outcome == "not_applied"
    assert "WRONGTYPE" in after[warehouse.keys.meta].pop("poison")
    assert after == before


async def test_garbage_in_a_reservation_condemns_and_changes_nothing_else(warehouse: Warehouse) -> None:
    """A text that is no reservation is not taken for one; it was somebody's hand, so the shard is given up and will be rebuilt."""
    await warehouse.stock("A", 5)
    r = await warehouse.hold(wish("A", 1))
    await warehouse.call("SET", warehouse.keys.reservation(r.id.random_part), "garbage")
    warehouse.is_damaged = True
    before = await warehouse.snapshot()

    with pytest.raises(ShardRecovering) as told:
        await warehouse.run(warehouse.release(r))

    after = await warehouse.snapshot()
    assert told.value.outcome == "not_applied"
    assert warehouse.keys.reservation(r.id.random_part) in after[warehouse.keys.meta].pop("poison")
    assert after == before


async def test_log_ahead_of_meta_poisons_before_anything_is_written(warehouse: Warehouse) -> None:
    """An entry with the next number is there already: another history. Poison, and no level moved."""
    await warehouse.stock("A", 5)
    seq = (await warehouse.remember())[-1].seq
    await warehouse.call("XADD", warehouse.keys.log, f"{seq + 3}-0", "e", "x", "d", "y")
    warehouse.is_damaged = True
    before = await warehouse.snapshot()

    reply = await warehouse.raw(warehouse.reserve(wish("A", 1)))

    after = await warehouse.snapshot()
    assert (reply[1], after[warehouse.keys.meta].pop("poison")) == ("POISONED", "log ahead of meta")
    assert after == before


async def test_log_of_another_type_changes_nothing(warehouse: Warehouse) -> None:
    """The log entry is the first write: when it can not be written, nothing is."""
    await warehouse.stock("A", 5)
    await plant(warehouse, warehouse.keys.log)
    before = await warehouse.snapshot()

    status = await outcome(warehouse, warehouse.reserve(wish("A", 1)))

    assert status == "ERROR"
    assert await warehouse.snapshot() == before


@pytest.mark.parametrize("field", ["seq", "digest", "checkpoint", "clock"])
async def test_meta_without_a_field_changes_nothing(warehouse: Warehouse, field: str) -> None:
    """A meta that lost a field is not worked on."""
    await warehouse.stock("A", 5)
    await warehouse.call("HDEL", warehouse.keys.meta, field)
    warehouse.is_damaged = True
    before = await warehouse.snapshot()

    status = await outcome(warehouse, warehouse.reserve(wish("A", 1)))

    assert status in ("ERROR", "CLOSED", "POISONED")
    assert await warehouse.snapshot() == before


async def test_state_of_one_call_does_not_reach_the_next(warehouse: Warehouse) -> None:
    """The library stays loaded: a call that broke off half-way leaves nothing behind for the one after it."""
    await warehouse.stock("A", 5)
    await warehouse.stock("B", 5)
    r = await warehouse.hold(wish("A", 2))
    await warehouse.call("SET", warehouse.keys.reservation("broken0000000000"), "garbage")

    broken = r.id._replace(random_part="broken0000000000")
    batch = warehouse.as_batch(
        warehouse.reserve(wish("B", 5)), warehouse.release(r), warehouse.release(_with(r, broken))
    )
    assert await outcome(warehouse, batch) == "ERROR"
    await warehouse.call("DEL", warehouse.keys.reservation("broken0000000000"))

    answer = await warehouse.run(warehouse.reserve(wish("A", 3), wish("B", 5)))

    assert answer.status == "RESERVED"
    assert await warehouse.counters("A") == (5, 5, 0)


def _with(r, id):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(r, id=id)
