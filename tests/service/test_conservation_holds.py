"""Holds in the conservation check: an orphan is found in each direction between Redis, its indexes, the rows and the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.domain.errors import ShardRecovering
from gateway.domain.identifier import mint_random_part
from gateway.service import conservation_holds
from tests.contract.sql import run_sql
from tests.service.damage import part_of
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


@pytest.fixture
async def held(each_database: Stores) -> AsyncIterator[tuple[Gateway, ReservationAnswer]]:
    """A gateway with two holds of tee and one of both skus, the last of which is handed out; all is committed."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 10)
        await gateway.put("mug", 5)
        await gateway.reserve(("tee", 1))
        await gateway.reserve(("tee", 2))
        held = await gateway.reserve(("tee", 2), ("mug", 1), tier="checkout")
        await gateway.flush()
        assert await gateway.violations() == []
        yield gateway, held


async def test_conservation_finds_a_hold_that_redis_lost(held: tuple[Gateway, ReservationAnswer]) -> None:
    """A hold of the durable store that is not in Redis would never end; it is told once, not again for its index entries."""
    gateway, hold = held
    await gateway.redis("DEL", gateway.shard.keys.reservation(part_of(hold)))
    assert await gateway.violations() == [f"8 lost {hold.reservation.id}"]


async def test_conservation_finds_a_hold_that_no_index_returns(held: tuple[Gateway, ReservationAnswer]) -> None:
    """A hold that one of its skus' indexes does not have, or has at another time, is named."""
    gateway, hold = held
    key, part = gateway.shard.keys.holds("main", "mug"), part_of(hold)
    score = int(await gateway.redis("ZSCORE", key, part))
    await gateway.redis("ZREM", key, part)
    assert await gateway.violations() == [f"8 unindexed {hold.reservation.id}"]
    await gateway.redis("ZADD", key, score + 1, part)
    assert await gateway.violations() == [f"8 unindexed {hold.reservation.id}"]
    await gateway.redis("ZADD", key, score, part)
    assert await gateway.violations() == []


async def test_conservation_finds_an_index_entry_without_a_hold(held: tuple[Gateway, ReservationAnswer]) -> None:
    """An entry in a sku's index whose reservation is not there, is over, or holds nothing of the sku."""
    gateway, hold = held
    await gateway.put("hat", 5)
    over = await gateway.release(await gateway.reserve(("tee", 1)))
    await gateway.flush()
    keys, part, nobody = gateway.shard.keys, part_of(hold), mint_random_part()
    far_ms = await gateway.clock_ms() + 10_000_000
    await gateway.redis("ZADD", keys.holds("main", "tee"), far_ms, nobody, far_ms, part_of(over))
    await gateway.redis("ZADD", keys.holds("main", "hat"), far_ms, part)
    assert sorted(await gateway.violations()) == sorted(
        [f"8 orphan main/tee/{nobody}", f"8 orphan main/tee/{part_of(over)}", f"8 orphan main/hat/{part}"]
    )


async def test_conservation_finds_a_hold_that_neither_store_nor_log_knows(
    held: tuple[Gateway, ReservationAnswer],
) -> None:
    """A hold in Redis of which there is no row and no event, with a seq that is committed or that nobody ever gave."""
    gateway, hold = held
    for seq in (hold.reservation.seq, hold.reservation.seq + 1000):
        stranger = mint_random_part()
        fields = hold.reservation.pack().split("\t")
        fields[3] = str(seq)
        await gateway.redis("SET", gateway.shard.keys.reservation(stranger), "\t".join(fields))
        where = f"rsv_0-{fields[4]}-{fields[5]}-{stranger}"
        assert await gateway.violations() == [f"8 unknown {where}"]
        await gateway.redis("DEL", gateway.shard.keys.reservation(stranger))
    assert await gateway.violations() == []


async def test_conservation_finds_a_hold_that_the_durable_store_lost(held: tuple[Gateway, ReservationAnswer]) -> None:
    """The other direction: the row is gone, Redis still holds; the log names it, and so do the units that nobody holds."""
    gateway, hold = held
    url = gateway._places.database_url
    await run_sql(url, f"DELETE FROM reservations WHERE id = '{part_of(hold)}'")
    assert sorted(await gateway.violations()) == [
        "1 held main/mug/main",
        "1 held main/tee/main",
        f"8 row {hold.reservation.id}",
    ]


@pytest.mark.parametrize(
    "change", [("\tcheckout\t", "\tcart\t"), ("mug\tmain\t1\t0", "mug\tmain\t2\t0"), ("h\t", "c\t")]
)
async def test_conservation_finds_a_reservation_that_changed_in_redis(
    held: tuple[Gateway, ReservationAnswer], change: tuple[str, str]
) -> None:
    """Another text at the same seq is named: another field, another quantity, another state."""
    gateway, hold = held
    key = gateway.shard.keys.reservation(part_of(hold))
    text = await gateway.redis("GET", key)
    assert change[0] in text
    await gateway.redis("SET", key, text.replace(*change, 1))
    assert await gateway.violations() == [f"8 drift {hold.reservation.id}"]
    await gateway.redis("SET", key, "nonsense")
    assert await gateway.violations() == [f"8 drift {part_of(hold)}"]


async def test_conservation_finds_a_reservation_that_redis_is_behind_with(
    held: tuple[Gateway, ReservationAnswer],
) -> None:
    """A reservation of an older state than what is committed is named, though it was right once."""
    gateway, hold = held
    key = gateway.shard.keys.reservation(part_of(hold))
    old = await gateway.redis("GET", key)
    await gateway.confirm(hold)
    await gateway.flush()
    await gateway.redis("SET", key, old)
    assert await gateway.violations() == [f"8 drift {hold.reservation.id}"]


async def test_conservation_finds_a_sku_that_the_sweep_does_not_come_to(
    held: tuple[Gateway, ReservationAnswer],
) -> None:
    """The shard's index of deadlines without a sku that has holds, with one that has none, or at another time."""
    gateway, _ = held
    due = gateway.shard.keys.due
    score = int(await gateway.redis("ZSCORE", due, "main/tee"))
    await gateway.redis("ZREM", due, "main/tee")
    assert await gateway.violations() == ["8 due main/tee"]
    await gateway.redis("ZADD", due, score + 1, "main/tee")
    assert await gateway.violations() == ["8 due main/tee"]
    await gateway.redis("ZADD", due, score, "main/tee")
    await gateway.put("hat", 5)
    await gateway.flush()
    await gateway.redis("ZADD", due, score, "main/hat")
    assert await gateway.violations() == ["8 due main/hat"]


async def test_conservation_looks_again_before_it_tells(
    held: tuple[Gateway, ReservationAnswer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is right at the second look was only on its way: nothing is told."""
    gateway, hold = held
    key, part = gateway.shard.keys.holds("main", "mug"), part_of(hold)
    score = int(await gateway.redis("ZSCORE", key, part))
    await gateway.redis("ZREM", key, part)
    looks: list[str] = []
    look = conservation_holds.Holds._unindexed

    async def mended(self: conservation_holds.Holds, random_part: str) -> str | None:
        looks.append(random_part)
        if len(looks) == 2:
            await gateway.redis("ZADD", key, score, part)
        return await look(self, random_part)

    monkeypatch.setattr(conservation_holds.Holds, "_unindexed", mended)
    assert await gateway.violations() == []
    assert looks == [part, part]


async def test_conservation_while_the_shard_is_opened_anew_gives_no_verdict(
    held: tuple[Gateway, ReservationAnswer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check across two epochs compares names that are over: it is to be made again."""
    gateway, _ = held
    check_hot = conservation_holds.Holds.check_hot

    async def reopened(self: conservation_holds.Holds, wrong: set[str]) -> None:
        await check_hot(self, wrong)
        gateway.shard.epoch += 1

    monkeypatch.setattr(conservation_holds.Holds, "check_hot", reopened)
    with pytest.raises(ShardRecovering):
        await gateway.violations()
    gateway.shard.epoch -= 1
    await asyncio.sleep(0)
