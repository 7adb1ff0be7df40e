"""The conservation check says nothing of clean books, and finds and names every kind of damage that is planted."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest

from gateway.domain.errors import DurableStoreUnavailable, GatewayError
from gateway.domain.event import chain
from gateway.domain.identifier import mint_random_part
from gateway.domain.totals import Totals, parse_totals
from gateway.service import conservation_findings, conservation_tail
from gateway.service.conservation_totals import added
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


@pytest.fixture
async def traded(each_database: Stores) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway with some clean history that is committed, and where its durable store is."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.put("mug", 5)
        await gateway.reserve(("tee", 2), ("mug", 1))
        await gateway.confirm(await gateway.reserve(("tee", 3)))
        await gateway.fulfil(await gateway.confirm(await gateway.reserve(("mug", 1))))
        await gateway.adjust("mug", -1, "k")
        await gateway.flush()
        assert await gateway.violations() == []
        yield gateway, each_database.database_url


async def test_conservation_of_clean_books_under_traffic_finds_nothing(stores: Stores) -> None:
    """While buyers reserve, confirm, release and let holds expire, check after check finds nothing, and looks at everything."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    async with running(stores) as gateway:
        for sku in ("tee", "mug", "hat"):
            await gateway.put(sku, 40)
        is_over = False

        async def buyer() -> None:
            while not is_over:
                with contextlib.suppress(GatewayError):
                    await buy(gateway, rng)
                await asyncio.sleep(0)

        buyers = [asyncio.create_task(buyer()) for _ in range(8)]
        for _ in range(6):
            assert await gateway.violations() == []
            await gateway.sweep()
            await gateway.advance(500)
        is_over = True
        await asyncio.gather(*buyers)
        await gateway.flush()
        found = await gateway.operations.conservation()
        assert found.violations == []
        row = await gateway.ledger.read_shard(0)
        assert (found.checked["levels"], found.checked["hot_levels"]) == (3, 3)
        assert 0 < found.checked["events"] <= row.checkpoint  # looking at a sku may itself return what is due


async def buy(gateway: Gateway, rng: random.Random) -> None:
    """One thing a buyer may do."""
    skus = rng.sample(["tee", "mug", "hat"], rng.randint(1, 2))
    held = await gateway.reserve(*[(sku, rng.randint(1, 3)) for sku in skus], ttl_seconds=rng.choice([1, 60]))
    ending = rng.random()
    if ending < 0.4:
        await gateway.confirm(held, fulfil=rng.random() < 0.5, ack="durable")
        await gateway.adjust(skus[0], rng.randint(1, 3), mint_random_part())
    elif ending < 0.7:
        await gateway.release(held)


async def test_conservation_finds_a_counter_that_changed_in_redis(traded: tuple[Gateway, str]) -> None:
    """A counter that Redis tells otherwise than the durable store at the same position is drift, at that level."""
    gateway, _ = traded
    key = gateway.shard.keys.sku("main", "tee")
    level = await gateway.redis("HGET", key, "Lmain")
    for place, name in enumerate(("on_hand", "held", "committed", "deducted", "safety_stock")):
        numbers = level.split(" ")
        numbers[place] = str(int(numbers[place]) + 1)
        await gateway.redis("HSET", key, "Lmain", " ".join(numbers))
        assert await gateway.violations() == ["1 drift main/tee/main"], name
    await gateway.redis("HSET", key, "Lmain", level)
    assert await gateway.violations() == []


async def test_conservation_finds_a_counter_that_changed_before_it_was_flushed(traded: tuple[Gateway, str]) -> None:
    """A change in Redis that the log tells otherwise is found at the very event, while the flusher is behind."""
    gateway, _ = traded
    await gateway.reserve(("tee", 1))
    key = gateway.shard.keys.sku("main", "tee")
    numbers = (await gateway.redis("HGET", key, "Lmain")).split(" ")
    numbers[0] = "11"
    await gateway.redis("HSET", key, "Lmain", " ".join(numbers))
    check = asyncio.create_task(gateway.violations())
    await gateway.until_awaited()
    await gateway.flush()
    assert await check == ["1 drift main/tee/main"]


async def test_conservation_finds_a_sku_with_holds_that_redis_lost(traded: tuple[Gateway, str]) -> None:
    """A sku with open holds must be in Redis; one that is not there is told, not passed over."""
    gateway, _ = traded
    await gateway.redis("DEL", gateway.shard.keys.sku("main", "tee"))
    assert [found for found in await gateway.violations() if "main/tee" in found] != []


async def test_conservation_finds_a_level_that_redis_is_behind_with(traded: tuple[Gateway, str]) -> None:
    """A level of an older state than what is committed is drift, though it was right once."""
    gateway, _ = traded
    key = gateway.shard.keys.sku("main", "tee")
    old = await gateway.redis("HGETALL", key)
    await gateway.put("tee", 20, sequence=2)
    await gateway.flush()
    await gateway.redis("HSET", key, *old)
    assert await gateway.violations() == ["1 drift main/tee/main"]


@pytest.mark.parametrize("counter", ["on_hand", "held", "committed", "deducted", "safety_stock"])
async def test_conservation_finds_a_durable_level_that_changed(traded: tuple[Gateway, str], counter: str) -> None:
    """A durable counter that is not what the log gives is named, and where reservations or totals tell it, by them, too."""
    gateway, url = traded
    await run_sql(url, f"UPDATE levels SET {counter} = {counter} + 1 WHERE sku = 'tee'")
    expected = {"6 level main/tee/main", "1 drift main/tee/main"}
    if counter in ("held", "committed"):
        expected.add(f"1 {counter} main/tee/main")
    if counter != "safety_stock":
        expected |= {f"1 totals durable {counter}", f"1 totals redis {counter}"}
    assert set(await gateway.violations()) == expected


async def test_conservation_finds_a_durable_level_that_is_gone(traded: tuple[Gateway, str]) -> None:
    """A level whose row is gone is missed by its reservations."""
    gateway, url = traded
    await run_sql(url, "DELETE FROM levels WHERE sku = 'tee'")
    assert {"1 held main/tee/main", "1 committed main/tee/main"} <= set(await gateway.violations())


async def test_conservation_finds_an_event_that_is_gone(traded: tuple[Gateway, str]) -> None:
    """An event dropped from the middle or from the end of the durable log is a gap at its seq."""
    gateway, url = traded
    row = await gateway.ledger.read_shard(0)
    stored = await gateway.ledger.read_events(0, 0, 100)
    await run_sql(url, "DELETE FROM events WHERE seq = 4")
    assert {"6 gap seq 4", "6 digest seq 5"} <= set(await gateway.violations())
    await run_sql(url, f"DELETE FROM events WHERE seq = {row.checkpoint}")
    assert f"6 gap seq {row.checkpoint}" in await gateway.violations()
    assert len(await gateway.ledger.read_events(0, 0, 100)) == len(stored) - 2


async def test_conservation_finds_a_broken_chain(traded: tuple[Gateway, str]) -> None:
    """A digest, or a payload under it, that does not follow the one before is named by its seq; so is a wrong end."""
    gateway, url = traded
    row = await gateway.ledger.read_shard(0)
    await run_sql(url, f"UPDATE events SET digest = '{'0' * 40}' WHERE seq = 4")
    assert {"6 digest seq 4", "6 digest seq 5"} <= set(await gateway.violations())
    event = (await gateway.ledger.read_events(0, 5, 1))[0]
    payload = event.payload.replace("key:test", "key:else")
    await run_sql(url, f"UPDATE events SET payload = '{payload}' WHERE seq = 6")
    assert "6 digest seq 6" in await gateway.violations()
    await run_sql(url, f"UPDATE shards SET digest = '{'1' * 40}'")
    assert f"6 digest seq {row.checkpoint}" in await gateway.violations()


async def test_conservation_finds_a_reservation_that_changed(traded: tuple[Gateway, str]) -> None:
    """A reservation row with another state or other quantities does not add up to its levels any more."""
    gateway, url = traded
    ((part, text),) = await run_sql(url, "SELECT id, packed FROM reservations WHERE state = 'held'")
    more = text.replace("tee\tmain\t2\t0", "tee\tmain\t4\t0")
    assert more != text
    await run_sql(url, f"UPDATE reservations SET packed = '{more}' WHERE id = '{part}'")
    fields = text.split("\t")
    row = f"8 row rsv_0-{fields[4]}-{fields[5]}-{part}"
    assert await gateway.violations() == ["1 held main/tee/main", row]
    await run_sql(url, f"UPDATE reservations SET packed = '{text}' WHERE id = '{part}'")
    assert await gateway.violations() == []
    await run_sql(url, f"UPDATE reservations SET state = 'released' WHERE id = '{part}'")
    assert set(await gateway.violations()) == {"1 held main/tee/main", "1 held main/mug/main", row}


@pytest.mark.parametrize("sku", ["tee", "mug"])
async def test_conservation_finds_units_sold_that_never_were(traded: tuple[Gateway, str], sku: str) -> None:
    """An oversell on which all books agree is found all the same, also where stock was lowered some time before."""
    gateway, _ = traded
    await oversell(gateway, sku)
    await gateway.flush()
    assert await gateway.violations() == [f"2 oversold main/{sku}/main"]


async def oversell(gateway: Gateway, sku: str) -> None:
    """A hold of 50 units where there are none, as a broken script would write it: log, level, reservation and meta agree."""
    keys = gateway.shard.keys
    last, digest, text = await gateway.redis("HMGET", keys.meta, "seq", "digest", "totals")
    totals = added(parse_totals(text), Totals(held=50))
    seq, now_ms, epoch = int(last) + 1, await gateway.clock_ms(), gateway.shard.epoch
    part, line = mint_random_part(), f"{sku}\tmain\t50\t0"
    fields = f"h\t{now_ms + 600_000}\t{epoch}\t{seq}\t{epoch}\t{seq}\t{now_ms}\t\t\tmain\tcart\t\t\t\t"
    before = (await gateway.redis("HGET", keys.sku("main", sku), "Lmain")).split(" ")
    on_hand, held, committed, deducted, safety, version = (int(number) for number in before[:6])
    after = (on_hand, held + 50, committed, deducted, safety, version + 1)
    told = "\t".join(map(str, after))
    payload = (
        f"E\t{seq}\t{epoch}\tstock.reserved\t{now_ms}\tmain\tkey:test\t\t\t\nR\t{part}\t{fields}\nI\t{line}\n"
        f"L\t{sku}\tmain\t{told}\t0\t50\t0\t0\t0"
    )
    link = chain(digest, payload)
    await gateway.redis("XADD", keys.log, f"{seq}-0", "e", payload, "d", link)
    level = " ".join(map(str, (*after, epoch, seq, now_ms)))
    await gateway.redis("HSET", keys.sku("main", sku), "Lmain", level)
    await gateway.redis("SET", keys.reservation(part), f"{fields}\n{line}")
    await gateway.redis("ZADD", keys.holds("main", sku), now_ms + 600_000, part)
    await gateway.redis("HSET", keys.meta, "seq", seq, "digest", link, "totals", totals.pack())


async def test_conservation_takes_a_source_that_lowered_stock_for_no_oversell(traded: tuple[Gateway, str]) -> None:
    """A source that counts less than is promised makes available negative, which is shown; it is no broken law."""
    gateway, _ = traded
    await gateway.put("tee", 1, sequence=2)
    await gateway.put("backorder", 0, safety_stock=-5)
    await gateway.reserve(("backorder", 5))
    await gateway.flush()
    assert (await gateway.level("tee")).available == -4
    assert await gateway.violations() == []


async def test_conservation_is_bounded(traded: tuple[Gateway, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is wrong, a bounded number of violations is told."""
    gateway, url = traded
    monkeypatch.setattr(conservation_findings, "VIOLATIONS_MAX", 2)
    await run_sql(url, "UPDATE levels SET on_hand = on_hand + 1")
    assert len(await gateway.violations()) == 2


async def test_conservation_with_a_flusher_that_stands_still_is_told_to_come_again(
    traded: tuple[Gateway, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Redis tells can not be compared before it is committed: no verdict rather than a wrong one."""
    gateway, _ = traded
    await gateway.reserve(("tee", 1))
    monkeypatch.setattr(conservation_tail, "CATCH_UP_MS", 20)
    with pytest.raises(DurableStoreUnavailable):
        await gateway.violations()
    await gateway.flush()
    assert await gateway.violations() == []
