"""A rebuild in many small pages and calls: everything comes back once, and what disturbs it on the way does no harm."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.domain.errors import ShardRecovering
from gateway.domain.reservation import Line
from gateway.hot.keys import Keys
from gateway.hot.scripts import Scripts
from gateway.hot.shard import Limits, Shard
from gateway.paths import lua_dir
from gateway.service import hold_index, opening, rebuilding
from gateway.service.hold_index import HoldIndex
from gateway.service.restoring import Restoring
from tests.contract.batches import Hold, opened, stored
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

SHOPS = ("main", "other")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages, calls and what is gathered are so small that a handful of holds needs many of each."""
    monkeypatch.setattr(rebuilding, "PAGE", 3)
    monkeypatch.setattr(rebuilding, "WORDS_MAX", 8)
    monkeypatch.setattr(hold_index, "WORDS_MAX", 8)
    monkeypatch.setattr(hold_index, "ENTRIES_MAX", 10)


async def emptied(gateway: Gateway) -> None:
    """Redis lost everything, and the gateway knows."""
    await gateway.redis("FLUSHALL")
    gateway.shard.close()


async def content(gateway: Gateway) -> dict[str, Any]:
    """What a rebuild brings back, by the names without the generation: holds, their indexes, the skus that have some."""
    found: dict[str, Any] = {}
    for key in await gateway.keys(f"{gateway.shard.keys.base}*"):
        name = key.removeprefix(gateway.shard.keys.base)
        if name[:2] == "r:":
            text = await gateway.redis("GET", key)
            if text.startswith("h"):
                found[name] = text
        elif name == "due" or name[:2] == "d:":
            found[name] = await gateway.redis("ZRANGE", key, 0, -1, "WITHSCORES")
    for name in [name for name in found if name[:2] == "d:"]:
        flat = await gateway.redis("HGETALL", f"{gateway.shard.keys.base}s:{name[2:]}")
        found[f"s:{name[2:]}"] = dict(zip(flat[::2], flat[1::2], strict=True))
    return found


async def shelves(gateway: Gateway, seed: int) -> list[ReservationAnswer]:
    """Two skus with three locations each, one with none sold; holds of one to six lines, some of them confirmed or released."""
    print(f"seed {seed}")  # a random test tells its seed
    rng = random.Random(seed)
    places = [(sku, place) for sku in ("tee", "mug") for place in ("main", "hall", "yard")]
    for sku, place in [*places, ("sold", "main")]:
        await gateway.put(sku, 1000, location=place, ack="memory")
    held = []
    for at in range(40):
        lines = [(sku, rng.randint(1, 5), place) for sku, place in rng.sample(places, rng.randint(1, 6))]
        one = await gateway.reserve(*lines, ttl_seconds=rng.choice([200, 300, 400]), key=f"k{at}")
        if at % 8 == 3:
            await gateway.confirm(one)
        elif at % 8 == 5:
            await gateway.release(one)
        else:
            held.append(one)
    await gateway.confirm(await gateway.reserve(("sold", 7, "main")))
    await gateway.flush()
    return held


async def test_rebuilding_in_pages_brings_back_each_byte(each_database: Stores, small_pages: None) -> None:
    """Holds of many lines at several locations, in many pages and calls: texts, indexes and levels are what they were."""
    async with running(each_database, is_flushing=False) as gateway:
        held = await shelves(gateway, random.randrange(2**32))
        before = await content(gateway)

        await emptied(gateway)
        assert await gateway.keep() == 1

        assert await content(gateway) == before
        assert len([name for name in before if name[:2] == "r:"]) == len(held)
        assert await gateway.keys("*:s:main/sold") == []  # only sold: it is loaded when it is wanted
        assert await gateway.keys("*:restoring") == []
        assert (await gateway.level("sold")).committed == 7
        await gateway.flush()
        assert await gateway.violations() == []


@pytest.mark.parametrize("entries_max", [1, 4, 1000])
def test_hold_index_tells_each_entry_once_and_one_hold_in_one_piece(
    entries_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it keeps: every entry and every unit once, and the lines of one hold and sku in the same call."""
    monkeypatch.setattr(hold_index, "WORDS_MAX", 8)
    monkeypatch.setattr(hold_index, "ENTRIES_MAX", entries_max)
    lines = [Line("A", "main", 2), Line("A", "hall", 3), Line("B", "main", 1)]
    holds = [Hold(created_seq=seq, seq=seq, lines=lines) for seq in range(1, 51)]
    index = HoldIndex()

    calls = [call for one in holds for call in index.add([(one.random_part, one.packed())])]
    calls += index.rest()

    words = [(call[at], call[at + 1]) for call in calls for at in range(0, len(call), 2)]
    entries = [(name, value) for name, value in words if name.isdigit()]
    assert sorted(entries) == sorted((str(one.deadline_ms), one.random_part) for one in holds for _ in "AB")
    assert sum(int(value) for name, value in words if name == "Hmain") == 50 * 3
    assert index.units == sum(int(value) for name, value in words if name[0] == "H") == 50 * 6
    # Of sku A, the one with two locations, every group of entries is followed by both sums, in proportion.
    for call in calls:
        at = call.index("=") if "=" in call else -1
        while at >= 0:
            end = call.index("=", at + 1) if "=" in call[at + 1 :] else len(call)
            group, at = call[at:end], end if end < len(call) else -1
            count = sum(
                word.isdigit() and group[n - 1] != "Hmain" and group[n - 1] != "Hhall" for n, word in enumerate(group)
            )
            if group[1].endswith("/A"):
                assert (group[group.index("Hmain") + 1], group[group.index("Hhall") + 1]) == (
                    str(2 * count),
                    str(3 * count),
                )


async def test_rebuilding_one_shard_leaves_the_other(each_database: Stores) -> None:
    """Two shards on one store: a rebuild takes the holds and levels of its own, and writes under its own names."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        mine = await gateway.reserve(("tee", 3))
        await gateway.flush()
        other = Hold(lines=[Line("mug", "main", 2)])
        await stored(gateway.ledger, await opened(gateway.ledger, shard=1), other)
        values = "'main', 'mug', 'main', 9, 2, 0, 0, 0, 1, 1, 1, 1, 1"
        await run_sql(each_database.database_url, f"INSERT INTO levels VALUES ({values})")  # our own words

        await emptied(gateway)
        assert await gateway.keep() == 1
        second = Shard(gateway.link, Scripts(lua_dir()), Limits(5000, 2, 1000), prefix="rg", number=1)
        keys = Keys("rg", 1, 2)
        counts = await rebuilding.rebuild(second, keys, gateway.ledger, 2, nothing)

        base = gateway.shard.keys.base
        assert [key for key in await gateway.keys("{rg0}*") if ":r:" in key] == [
            f"{base}r:{mine.reservation.id.random_part}"
        ]
        assert (counts.holds, counts.skus) == (1, 1)
        assert await gateway.keys("{rg1}*") == sorted(
            [keys.due, keys.holds("main", "mug"), keys.reservation(other.random_part), keys.sku("main", "mug")]
        )


async def nothing() -> None:
    """Nobody else wants the shard."""


@pytest.mark.parametrize("script", ["restore_holds", "restore_index", "restore_skus", "the end"])
async def test_rebuilding_on_a_redis_that_is_emptied_meanwhile_begins_again(
    stores: Stores, small_pages: None, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a generation is never opened: the opening ends with "recovering", and the next one brings everything back."""
    async with running(stores, is_flushing=False) as gateway:
        await shelves(gateway, 5)
        before = await content(gateway)
        await emptied(gateway)
        with monkeypatch.context() as patch:
            patch.setattr(gateway.shard, "ask_script", once_before(gateway, script))
            patch.setattr(gateway.shard, "ask", once_before_the_end(gateway, script))
            with pytest.raises(ShardRecovering, match="emptied"):
                await gateway.opener.open()
        assert not gateway.shard.is_open

        assert await gateway.keep() == 1
        assert await content(gateway) == before
        await gateway.flush()
        assert await gateway.violations() == []


def once_before(gateway: Gateway, script: str) -> Callable[..., Awaitable[list[str]]]:
    """`ask_script` that empties Redis before the second call of this script."""
    ask, calls = gateway.shard.ask_script, 0

    async def ask_script(name: str, *given: Any, **named: Any) -> list[str]:
        nonlocal calls
        calls += name == script
        if name == script and calls == 2:
            await gateway.link.call("FLUSHALL")
            await gateway.shard.load_scripts()
        return await ask(name, *given, **named)

    return ask_script


def once_before_the_end(gateway: Gateway, when: str) -> Callable[..., Awaitable[object]]:
    """`ask` that, at the end of the rebuild, empties Redis before its mark is taken away."""
    ask, calls = gateway.shard.ask, 0

    async def asked(*given: Any, **named: Any) -> object:
        nonlocal calls
        is_mark = given[0] == "DEL" and str(given[1]).endswith(":restoring")
        calls += is_mark
        if is_mark and when == "the end" and calls == 2:
            await gateway.link.call("FLUSHALL")
        return await ask(*given, **named)

    return asked


async def test_rebuilding_that_failed_leaves_nothing_behind(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed attempts wrote under names of their own is dropped behind the one that succeeds."""

    async def emptied_at_the_end(_: object) -> None:
        raise ShardRecovering("Redis was emptied")

    async with running(stores, is_flushing=False) as gateway:
        await shelves(gateway, 6)
        await emptied(gateway)
        with monkeypatch.context() as patch:
            patch.setattr(Restoring, "end", emptied_at_the_end)
            for _ in range(2):
                with pytest.raises(ShardRecovering):
                    await gateway.keep()
        left = {key.split(":")[1] for key in await gateway.keys("{rg0}*")}
        assert left == {"2", "3"}

        assert await gateway.keep() == 1
        while await gateway.opener.forgetting.step():
            pass

        assert {key.split(":")[1] for key in await gateway.keys("{rg0}*")} == {"meta", "4"}


async def test_rebuilding_for_long_stays_its_openers(
    each_database: Stores, small_pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes: while it goes on its claim is renewed; one that was overtaken all the same ends."""
    monkeypatch.setattr(opening, "OWNER_LEASE_MS", 0)  # each claim is over at once, and renewed with each page
    monkeypatch.setattr("gateway.service.claim.PAUSE_S_MIN", 3600.0)  # and by nobody else
    async with running(each_database, is_flushing=False) as gateway:
        await shelves(gateway, 7)
        await emptied(gateway)
        keep_claim, claims = gateway.ledger.keep_claim, []

        async def counted(*given: Any) -> bool:
            claims.append(given)
            if len(claims) == 3:
                assert await gateway.ledger.raise_epoch(0, 2, "another", 0) is not None
            return await keep_claim(*given)

        monkeypatch.setattr(gateway.ledger, "keep_claim", counted)
        with pytest.raises(ShardRecovering, match="overtaken"):
            await gateway.opener.open()
        assert len(claims) == 3
        assert await gateway.keys("*:meta") == []

        assert await gateway.keep() == 1
        assert len(claims) > 6
        assert gateway.shard.epoch == 4
