"""What Redis has let go of comes back from the durable store, complete, once, and never older than what happened since."""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain.command import Pause, PutLevel
from gateway.domain.errors import (
    Corrupt,
    DurableStoreUnavailable,
    InvalidRequest,
    ReservationNotFound,
    SkuNotFound,
    StaleSequence,
)
from gateway.durable.ledger import LedgerUnavailable
from gateway.service.loading import ABSENT_MS, Loader
from tests.service.gateway import Gateway

pytestmark = pytest.mark.usefixtures("patient_loading")


async def evict(gateway: Gateway, *names: str) -> None:
    """The lives of these keys are over: everything of them is committed, and Redis has let go of it."""
    await gateway.flush()
    for name in names:
        key = gateway.shard.keys.named(name)
        assert await gateway.redis("PTTL", key) > 0, f"{name} had no life that could end"
        await gateway.redis("DEL", key)


def loader_of(gateway: Gateway) -> Loader:
    """The gateway's loader."""
    return gateway.books._loader


async def test_loading_a_sku_brings_back_all_of_it(idle: Gateway) -> None:
    """An evicted sku comes back with every level, its sources and fences, its version, position and pause."""
    await idle.put("tee", 10, source="erp", sequence=7, safety_stock=2)
    await idle.put("tee", deduction=3, source="wms", sequence=40)
    await idle.put("tee", 4, location="outlet")
    await idle.fulfil(await idle.confirm(await idle.reserve(("tee", 1, "outlet"))))
    await idle.pause("tee")
    before = (await idle.stock.read("tee", idle.call())).sku
    await evict(idle, "s:main/tee")

    assert (await idle.stock.read("tee", idle.call())).sku == before
    with pytest.raises(StaleSequence):
        await idle.put("tee", 99, source="erp", sequence=6)
    assert await idle.redis("PTTL", idle.shard.keys.sku("main", "tee")) > 0
    await idle.stock.pause(Pause("tee", False), idle.call("memory"))
    assert await idle.redis("PTTL", idle.shard.keys.sku("main", "tee")) == -1
    assert (await idle.reserve(("tee", 3, "outlet"))).reservation.lines[0].quantity == 3
    await idle.flush()
    assert await idle.violations() == []


async def test_loading_an_unknown_sku_is_remembered_for_a_moment(
    idle: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That there is no such sku is asked of the durable store once; the first level of it is there at once all the same."""
    reads: list[str] = []
    read_sku = idle.ledger.read_sku

    async def counted(shop: str, sku: str) -> object:
        reads.append(sku)
        return await read_sku(shop, sku)

    monkeypatch.setattr(idle.ledger, "read_sku", counted)
    for _ in range(3):
        with pytest.raises(SkuNotFound):
            await idle.stock.read("ghost", idle.call())
    assert reads == ["ghost"]
    assert ABSENT_MS <= 2000  # outside of this test
    assert 60_000 < await idle.redis("PTTL", idle.shard.keys.sku("main", "ghost")) <= 120_000
    await idle.put("ghost", 3)
    assert (await idle.level("ghost")).on_hand == 3
    assert await idle.redis("PTTL", idle.shard.keys.sku("main", "ghost")) == -1


async def test_loading_by_many_at_once_reads_once(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty reserves of one evicted sku at once: one load, and exactly the units there are."""
    await idle.put("tee", 5)
    await evict(idle, "s:main/tee")
    reads: list[str] = []
    read_sku = idle.ledger.read_sku

    async def counted(shop: str, sku: str) -> object:
        reads.append(sku)
        return await read_sku(shop, sku)

    monkeypatch.setattr(idle.ledger, "read_sku", counted)
    answers = await asyncio.gather(*[idle.reserve(("tee", 1)) for _ in range(20)], return_exceptions=True)
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 5
    assert len(reads) == 1
    await idle.flush()
    assert await idle.violations() == []


async def test_loading_that_was_overtaken_installs_nothing(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row read long ago is refused: since then its ticket ran out, another loaded, changed, flushed, and Redis let go again."""
    await idle.put("tee", 10)
    await evict(idle, "s:main/tee")
    read_sku = idle.ledger.read_sku
    has_read, may_install = asyncio.Event(), asyncio.Event()

    async def slow(shop: str, sku: str) -> object:
        row = await read_sku(shop, sku)
        has_read.set()
        await may_install.wait()
        return row

    monkeypatch.setattr(idle.ledger, "read_sku", slow)
    old = asyncio.create_task(loader_of(idle).load(["s:main/tee"]))
    await has_read.wait()
    monkeypatch.setattr(idle.ledger, "read_sku", read_sku)
    assert await idle.redis("DEL", idle.shard.keys.ticket("s:main/tee")) == 1  # its time is over
    await idle.put("tee", 3, sequence=2)
    await evict(idle, "s:main/tee")

    may_install.set()
    assert await old == set()

    assert await idle.redis("EXISTS", idle.shard.keys.sku("main", "tee")) == 0
    assert (await idle.level("tee")).on_hand == 3


async def test_loading_with_a_ticket_of_somebody_else_installs_nothing(idle: Gateway) -> None:
    """While another load is under way there is nothing to do but to look again."""
    await idle.put("tee", 10)
    await evict(idle, "s:main/tee")
    await idle.redis("SET", idle.shard.keys.ticket("s:main/tee"), "another", "PX", 60_000)
    assert await loader_of(idle).load(["s:main/tee"]) == set()
    assert await idle.redis("EXISTS", idle.shard.keys.sku("main", "tee")) == 0


async def test_loading_what_is_there_again_leaves_it_as_it_is(idle: Gateway) -> None:
    """A load that comes when another one is done, and the sku was changed since, changes nothing and alarms nobody."""
    await idle.put("tee", 10)
    await evict(idle, "s:main/tee")
    await idle.put("tee", 8, sequence=2)
    assert await loader_of(idle).load(["s:main/tee"]) == set()
    assert (await idle.level("tee")).on_hand == 8
    assert await idle.redis("PTTL", idle.shard.keys.sku("main", "tee")) == -1
    await idle.reserve(("tee", 4))
    await idle.flush()
    assert await loader_of(idle).load(["s:main/tee"]) == set()
    assert (await idle.level("tee")).held == 4


async def test_loading_a_sku_whose_holds_redis_lost_is_an_alarm(idle: Gateway) -> None:
    """A sku with open holds is always in Redis: one that is not is told as damage, never loaded as if nothing were held."""
    await idle.put("tee", 10)
    await idle.reserve(("tee", 4))
    await idle.flush()
    await idle.redis("DEL", idle.shard.keys.sku("main", "tee"))
    for _ in range(2):
        with pytest.raises(Corrupt, match="lost the open holds"):
            await idle.reserve(("tee", 1))
        await idle.redis("DEL", idle.shard.keys.ticket("s:main/tee"))
    assert await idle.redis("EXISTS", idle.shard.keys.sku("main", "tee")) == 0


async def test_loading_an_evicted_sale_lets_it_be_fulfilled_and_released(idle: Gateway) -> None:
    """A confirmed reservation that Redis let go of is fulfilled, or released, from the durable store, with its sku."""
    await idle.put("tee", 10)
    first = await idle.confirm(await idle.reserve(("tee", 2)))
    second = await idle.confirm(await idle.reserve(("tee", 3)))
    names = [f"r:{one.reservation.id.random_part}" for one in (first, second)]
    await evict(idle, "s:main/tee", *names)

    assert (await idle.fulfil(first)).reservation.state == "fulfilled"
    assert (await idle.release(second)).reservation.state == "released"
    level = await idle.level("tee")
    assert (level.on_hand, level.committed) == (8, 0)
    await evict(idle, "s:main/tee", *names)
    assert (await idle.fulfil(first)).reservation.state == "fulfilled"
    assert (await idle.read(second)).reservation.state == "released"
    await idle.flush()
    assert await idle.violations() == []


async def test_loading_evicted_sales_lets_a_count_reflect_them(idle: Gateway) -> None:
    """A count may name sales that Redis let go of; one that is unknown or not confirmed is named in the refusal."""
    await idle.put("tee", 10)
    sold = await idle.confirm(await idle.reserve(("tee", 2)))
    held = await idle.reserve(("tee", 1))
    await evict(idle, f"r:{sold.reservation.id.random_part}")
    unknown = sold.reservation.id._replace(random_part="A" * 16)

    ids = (str(sold.reservation.id), str(unknown))
    with pytest.raises(InvalidRequest) as refusal:
        await idle.stock.put_level(PutLevel("tee", "main", "erp", 2, 8, reflects=ids), idle.call("memory"))
    assert [error["field"] for error in refusal.value.extras["errors"]] == ["reflects[1]"]
    ids = (str(sold.reservation.id), str(held.reservation.id))
    with pytest.raises(InvalidRequest) as refusal:
        await idle.stock.put_level(PutLevel("tee", "main", "erp", 2, 8, reflects=ids), idle.call("memory"))
    assert [error["field"] for error in refusal.value.extras["errors"]] == ["reflects[1]"]

    with pytest.raises(InvalidRequest) as refusal:
        await idle.put("tee", deduction=0, sequence=2, reflects=(str(sold.reservation.id),))
    assert [error["field"] for error in refusal.value.extras["errors"]] == ["on_hand"]

    answer = await idle.put("tee", 8, sequence=2, reflects=(str(sold.reservation.id),))
    assert (answer.level.on_hand, answer.level.committed, answer.level.held) == (8, 0, 1)
    assert (await idle.read(sold)).reservation.state == "fulfilled"
    await idle.flush()
    assert await idle.violations() == []


async def test_loading_a_key_and_its_reservation_answers_the_replay(idle: Gateway) -> None:
    """A key whose reservation Redis let go of still answers it, as it is now."""
    await idle.put("tee", 10)
    sold = await idle.confirm(await idle.reserve(("tee", 2), key="cart-1"))
    await evict(idle, f"r:{sold.reservation.id.random_part}", "s:main/tee")
    replay = await idle.reserve(("tee", 2), key="cart-1")
    assert (replay.replayed, replay.reservation) == (True, sold.reservation)
    assert (await idle.level("tee")).committed == 2


async def test_loading_from_a_durable_store_that_is_away_changes_nothing(
    idle: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in Redis goes on working; what is not answers that the durable store is away, and works when it is back."""
    await idle.put("warm", 10)
    await idle.put("cold", 10)
    await evict(idle, "s:main/cold")

    async def away(*_: object) -> None:
        raise LedgerUnavailable("it does not answer")

    with monkeypatch.context() as patch:
        for name in ("read_sku", "read_reservation"):
            patch.setattr(idle.ledger, name, away)
        await idle.reserve(("warm", 1))
        for _ in range(2):
            with pytest.raises(DurableStoreUnavailable) as refusal:
                await idle.reserve(("warm", 1), ("cold", 1))
            assert refusal.value.outcome == "not_applied"
        with pytest.raises(DurableStoreUnavailable):
            await idle.reservations.read("rsv_0-1-2-AAAAAAAAAAAAAAAA", idle.call())
    await idle.reserve(("warm", 1), ("cold", 1))
    assert ((await idle.level("warm")).held, (await idle.level("cold")).held) == (2, 1)
    with pytest.raises(ReservationNotFound):
        await idle.reservations.read("rsv_0-1-2-AAAAAAAAAAAAAAAA", idle.call())
