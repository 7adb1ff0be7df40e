"""open: the shard works under a new epoch."""

from __future__ import annotations

import pytest

from gateway.domain.event import GENESIS, OPENED
from tests.lua.warehouse import DAY_MS, START_MS, Warehouse, wish


async def test_open_new_shard_writes_one_entry_and_meta(warehouse: Warehouse) -> None:
    """A new shard has one event, shard.opened, and meta that names epoch, generation, lineage and deployment."""
    events = await warehouse.remember()
    meta = await warehouse.content(warehouse.keys.meta)

    assert [(e.seq, e.epoch, e.type, e.at_ms, e.reason) for e in events] == [(1, 1, OPENED, START_MS, "created")]
    assert meta == {
        "ask_until": str(START_MS),
        "checkpoint": "0",
        "clock": str(START_MS),
        "deployment": "test",
        "digest": warehouse.digest,
        "epoch": "1",
        "gen": "1",
        "lineage": warehouse.link.lineage,
        "seq": "1",
        "shard": "0",
        "totals": "0 0 0 0",
    }


async def test_open_without_clock_takes_the_servers_time(warehouse: Warehouse) -> None:
    """Where no later clock is known, the server's TIME in milliseconds is the shard's."""
    await warehouse.remember()
    meta = await warehouse.content(warehouse.keys.meta)
    seen = (1, meta["digest"])
    await warehouse.call("HSET", warehouse.keys.meta, "clock", 0)

    before = await warehouse.call("TIME")
    reply = await warehouse.open_epoch(2, seen=seen, seq=1, how="adopted")
    after = await warehouse.call("TIME")

    assert reply[1] == "OPENED"
    assert _ms(before) <= int(reply[2]) <= _ms(after)
    warehouse.shard.open_under(2, 1, warehouse.link.lineage, 0)


def _ms(time: list[str]) -> int:
    return int(time[0]) * 1000 + int(time[1]) // 1000


async def test_open_adopting_continues_seq_and_chain(warehouse: Warehouse) -> None:
    """A raised epoch goes on in the same log: next seq, chained digest, ask_until kept with -1, checkpoint at the seam."""
    await warehouse.stock("A", 5)
    await warehouse.remember()
    old = await warehouse.content(warehouse.keys.meta)

    reply = await warehouse.open_epoch(7, seen=(1, old["digest"]), seq=int(old["seq"]), ask_ms=-1, how="adopted")
    warehouse.shard.open_under(7, 1, warehouse.link.lineage, 0)
    events = await warehouse.remember()

    meta = await warehouse.content(warehouse.keys.meta)
    assert reply[1:] == ["OPENED", str(START_MS), old["seq"], str(int(old["seq"]) + 1), meta["digest"]]
    assert (events[-1].type, events[-1].epoch, events[-1].reason) == (OPENED, 7, "adopted")
    assert (meta["epoch"], meta["checkpoint"], meta["ask_until"]) == ("7", old["seq"], old["ask_until"])
    hold = await warehouse.hold(wish("A", 2))
    assert (hold.id.epoch, hold.epoch) == (7, 7)


async def test_open_takes_the_poison_away(warehouse: Warehouse) -> None:
    """meta is replaced as a whole: what poisoned the epoch before is gone."""
    meta = await warehouse.content(warehouse.keys.meta)
    await warehouse.call("HSET", warehouse.keys.meta, "poison", "broken", "stray", "field")
    await warehouse.remember()

    reply = await warehouse.open_epoch(2, seen=(1, meta["digest"]), seq=1, how="adopted")
    warehouse.shard.open_under(2, 1, warehouse.link.lineage, 0)

    assert reply[1] == "OPENED"
    assert not {"poison", "stray"} & set(await warehouse.content(warehouse.keys.meta))


async def test_open_overtaken_changes_nothing(warehouse: Warehouse) -> None:
    """Another epoch or digest than the caller saw, or one as high as the new one: OVERTAKEN, and nothing changed."""
    digest = (await warehouse.content(warehouse.keys.meta))["digest"]
    before = await warehouse.snapshot()

    replies = [
        await warehouse.open_epoch(2, seen=(0, ""), seq=1),
        await warehouse.open_epoch(2, seen=(2, digest), seq=1),
        await warehouse.open_epoch(2, seen=(1, GENESIS), seq=1),
        await warehouse.open_epoch(1, seen=(1, digest), seq=1),
    ]

    assert [(reply[1], reply[4]) for reply in replies] == [("OVERTAKEN", "1")] * 4
    assert await warehouse.snapshot() == before


async def test_open_sent_twice_opens_once(warehouse: Warehouse) -> None:
    """The same opening again, as after a lost answer, is overtaken by itself and writes no second entry."""
    digest = (await warehouse.content(warehouse.keys.meta))["digest"]
    await warehouse.remember()

    first = await warehouse.open_epoch(2, seen=(1, digest), seq=1, how="adopted")
    warehouse.shard.open_under(2, 1, warehouse.link.lineage, 0)
    before = await warehouse.snapshot()
    second = await warehouse.open_epoch(2, seen=(1, digest), seq=1, how="adopted")

    assert (first[1], second[1], second[4]) == ("OPENED", "OVERTAKEN", "2")
    assert await warehouse.snapshot() == before


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
async def test_open_on_a_server_whose_clock_is_wrong_goes_on_as_expected(warehouse: Warehouse, jump_ms: int) -> None:
    """Where TIME is far from what the caller's monotonic clock says, the shift makes up for it from the first call on."""
    await warehouse.remember()
    meta = await warehouse.content(warehouse.keys.meta)
    await warehouse.call("HSET", warehouse.keys.meta, "clock", 0)
    expected_ms = await warehouse.server_ms() - jump_ms

    reply = await warehouse.open_epoch(
        2, seen=(1, meta["digest"]), seq=1, how="adopted", expected_ms=expected_ms, lease_ms=60_000
    )
    warehouse.shard.open_under(2, 1, warehouse.link.lineage, 0)
    later = await warehouse.raw(warehouse.lease(60_000))

    bound_ms, shift_ms = map(int, (await warehouse.content(warehouse.keys.meta))["horizon"].split())
    assert bound_ms == expected_ms + 2000
    assert (reply[1], reply[2]) == ("OPENED", str(expected_ms))
    assert 0 <= -jump_ms - shift_ms < 60_000
    assert expected_ms <= int(later[2]) < expected_ms + 60_000


@pytest.mark.parametrize("unseen_ms", [60_000, 3_600_000])
@pytest.mark.parametrize("has_seen", [True, False])
async def test_open_where_time_went_on_unseen_asks_for_unknown_records(
    warehouse: Warehouse, unseen_ms: int, has_seen: bool
) -> None:
    """Records live by TIME: where it jumped, or nobody saw it pass, an adopted shard asks for a retention."""
    await warehouse.remember()
    meta = await warehouse.content(warehouse.keys.meta)
    last_ms = await warehouse.server_ms() - unseen_ms
    await warehouse.call("HSET", warehouse.keys.meta, "clock", last_ms, "ask_until", 7)

    reply = await warehouse.open_epoch(
        2, seen=(1, meta["digest"]), seq=1, ask_ms=-1, how="adopted", expected_ms=last_ms if has_seen else 0
    )
    warehouse.shard.open_under(2, 1, warehouse.link.lineage, 0)

    ask_until_ms = int((await warehouse.content(warehouse.keys.meta))["ask_until"])
    assert ask_until_ms == (7 if unseen_ms == 60_000 else int(reply[2]) + DAY_MS)


async def test_open_near_what_is_expected_takes_the_servers_time(warehouse: Warehouse) -> None:
    """A second off is the way to Redis: no shift; the clock is bounded from now."""
    epoch, way_ms = 1, 1000
    while way_ms >= 1000:  # where the machine stood still on the way, the server was a second off, and more
        seq, epoch = (await warehouse.remember())[-1].seq, epoch + 1
        await warehouse.call("HSET", warehouse.keys.meta, "clock", 0)
        before_ms = await warehouse.server_ms()
        reply = await warehouse.open_epoch(
            epoch, seen=(epoch - 1, warehouse.digest), seq=seq, how="adopted", expected_ms=before_ms + 900
        )
        way_ms = await warehouse.server_ms() - before_ms
        warehouse.shard.open_under(epoch, 1, warehouse.link.lineage, 0)

    fresh = await warehouse.content(warehouse.keys.meta)
    assert int(fresh["horizon"]) == int(reply[2]) + 2000
    assert "lease" not in fresh
