"""What an answer is worth: durable ones come after the commit, memory ones do not wait, and what was not seen is told as unknown."""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain.answer import LevelAnswer, ReservationAnswer
from gateway.domain.command import Adjust, BatchCommand, Confirm, Extend, Fulfil, Pause, Release, Reserve, Wish
from gateway.domain.errors import DurabilityUnknown, OutOfStock, ReservationLost
from gateway.flush import watermark
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


class Gate:
    """The durable store's commits wait until `open`; with `wait_ms` nobody waits longer for them."""

    def __init__(self, gateway: Gateway, *, wait_ms: int = 0) -> None:
        self.is_asked, self._is_open = asyncio.Event(), asyncio.Event()
        self._append = gateway.ledger.append
        gateway.ledger.append = self._appended  # type: ignore[method-assign]
        self._books, self._patient_ms = gateway.books, gateway.books._ack_timeout_ms
        self._books._ack_timeout_ms = wait_ms or self._patient_ms

    async def _appended(self, *arguments: object, **named: object) -> bool:
        self.is_asked.set()
        await self._is_open.wait()
        return await self._append(*arguments, **named)  # type: ignore[arg-type]

    def open(self) -> None:
        """Commits go through again, and there is time to wait for them."""
        self._books._ack_timeout_ms = self._patient_ms
        self._is_open.set()


async def settled(gateway: Gateway) -> None:
    """Everything that can happen without the durable store has happened."""
    for _ in range(5):
        await gateway.redis("PING")


async def test_acks_durable_come_when_the_ledger_has_the_change(each_database: Stores) -> None:
    """When a durable answer arrives, the durable store has exactly what it tells; a memory answer says that it is not sure."""
    async with running(each_database) as gateway:
        level = await gateway.put("tee", 10, ack="durable")
        stored = await gateway.ledger.read_sku("main", "tee")
        assert stored is not None
        assert (level.durable, stored.levels["main"]) == (True, level.level)
        gate = Gate(gateway)
        held = await gateway.reserve(("tee", 2), ack="memory")
        assert not held.durable
        gate.open()
        for change in (
            gateway.extend(held, 600, ack="durable"),
            gateway.confirm(held, ack="durable"),
            gateway.fulfil(held, ack="durable"),
        ):
            answer = await change
            text = await gateway.ledger.read_reservation(held.reservation.id.random_part)
            assert (answer.durable, text) == (True, answer.reservation.pack())
        adjusted = await gateway.adjust("tee", -3, "k", ack="durable")
        paused = await gateway.pause("tee", ack="durable")
        stored = await gateway.ledger.read_sku("main", "tee")
        assert stored is not None
        assert (adjusted.level.on_hand, paused.durable) == (5, True)
        assert (stored.levels["main"].on_hand, stored.paused) == (5, True)


async def test_acks_default_per_operation(gateway: Gateway) -> None:
    """Without `ack` a reserve is answered from memory, everything else when it is committed."""
    await gateway.put("tee", 10)
    call = gateway.call()
    gate = Gate(gateway)
    held = await gateway.reservations.reserve(Reserve([Wish("tee", 1)], "cart"), call)
    assert not held.durable
    gate.open()
    id = str(held.reservation.id)
    assert (await gateway.reservations.extend(Extend(id), call)).durable
    assert (await gateway.reservations.confirm(Confirm(id), call)).durable
    assert (await gateway.reservations.fulfil(Fulfil(id), call)).durable
    assert (await gateway.stock.pause(Pause("tee", True), call)).durable


async def test_acks_durable_wait_for_the_commit_also_when_repeated(gateway: Gateway) -> None:
    """While the commit is under way a confirm waits, its repetition waits for the same commit, and reading says durable: false."""
    await gateway.put("tee", 10, ack="durable")
    held = await gateway.reserve(("tee", 2), key="cart", ack="durable")
    gate = Gate(gateway)
    waiting = [
        asyncio.create_task(gateway.confirm(held, ack="durable")),
        asyncio.create_task(gateway.confirm(held, ack="durable")),
        asyncio.create_task(gateway.reserve(("tee", 2), key="cart", ack="durable")),
    ]
    await gate.is_asked.wait()
    await settled(gateway)

    assert not any(task.done() for task in waiting)
    now = await gateway.read(held)
    assert (now.reservation.state, now.durable) == ("confirmed", False)
    stock = await gateway.stock.read("tee", gateway.call())
    assert (stock.sku.levels["main"].committed, stock.durable) == (2, False)
    other = await gateway.reserve(("tee", 1), ack="memory")
    assert not other.durable

    gate.open()
    answers = await asyncio.gather(*waiting)
    assert [answer.durable for answer in answers] == [True] * 3
    assert {answer.reservation.seq for answer in answers} == {now.reservation.seq}
    assert (await gateway.read(held)).durable


async def test_acks_durable_that_can_not_be_had_name_the_id(gateway: Gateway) -> None:
    """A commit that is not seen in time is told as unknown, with the id; the change stands, and repeating it is answered durably."""
    await gateway.put("tee", 10, ack="durable")
    held = await gateway.reserve(("tee", 2), ack="durable")
    id = str(held.reservation.id)
    gate = Gate(gateway, wait_ms=30)
    for change in (Confirm(id), Confirm(id)):
        with pytest.raises(DurabilityUnknown) as unknown:
            await gateway.reservations.confirm(change, gateway.call("durable"))
        assert (unknown.value.outcome, unknown.value.extras) == ("unknown", {"id": id})
    with pytest.raises(DurabilityUnknown) as unknown:
        await gateway.reserve(("tee", 3), key="cart", ack="durable")
    reserved = unknown.value.extras["id"]
    with pytest.raises(DurabilityUnknown) as unknown:
        await gateway.put("tee", 11, sequence=2, ack="durable")
    assert unknown.value.extras == {}
    now = await gateway.reservations.read(reserved, gateway.call())
    assert (now.reservation.state, now.durable) == ("held", False)

    gate.open()
    assert (await gateway.confirm(held, ack="durable")).durable
    again = await gateway.reserve(("tee", 3), key="cart", ack="durable")
    assert (again.durable, again.replayed, str(again.reservation.id)) == (True, True, reserved)
    same = await gateway.put("tee", 11, sequence=2, ack="durable")
    assert (same.durable, same.applied) == (True, False)
    assert await gateway.violations() == []


async def test_acks_of_a_batch_wait_once_for_the_newest(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch waits for one commit, that of its newest change; each result says whether its own is committed."""
    await gateway.put("tee", 10)
    first, second = await gateway.reserve(("tee", 1)), await gateway.reserve(("tee", 1))
    waits: list[int] = []
    reached = gateway.watermark.reached

    async def counted(epoch: int, seq: int, timeout_ms: int) -> None:
        waits.append(seq)
        await reached(epoch, seq, timeout_ms)

    monkeypatch.setattr(gateway.watermark, "reached", counted)
    gate = Gate(gateway)
    commands: list[BatchCommand] = [
        Confirm(str(first.reservation.id)),
        Reserve([Wish("tee", 100)], "cart"),
        Confirm(str(second.reservation.id)),
        Adjust("tee", "main", -1, "broken", None, "k", "f"),
        Reserve([Wish("tee", 1)], "cart"),
    ]
    batch = asyncio.create_task(gateway.reservations.batch(commands, gateway.call()))
    await gateway.until_awaited()
    gate.open()
    results = await batch
    assert len(waits) == 1
    assert isinstance(results[1], OutOfStock)
    changed = [result for result in results if isinstance(result, ReservationAnswer | LevelAnswer)]
    assert [change.durable for change in changed[:3]] == [True] * 3
    assert isinstance(results[3], LevelAnswer)
    assert waits == [results[3].level.seq]


async def test_acks_of_a_batch_that_can_not_be_had_are_told_one_by_one(gateway: Gateway) -> None:
    """In a batch whose commit is not seen, what must be durable is unknown, what may be memory is answered, refusals stay refusals."""
    await gateway.put("tee", 10)
    held = await gateway.reserve(("tee", 1), ack="durable")
    gate = Gate(gateway, wait_ms=30)
    commands: list[BatchCommand] = [
        Confirm(str(held.reservation.id)),
        Reserve([Wish("tee", 1)], "cart"),
        Release("rsv_0-1-1-AAAAAAAAAAAAAAAA"),
    ]
    results = await gateway.reservations.batch(commands, gateway.call())
    assert isinstance(results[0], DurabilityUnknown)
    assert results[0].extras == {"id": str(held.reservation.id)}
    assert isinstance(results[1], ReservationAnswer)
    assert not results[1].durable
    gate.open()
    results = await gateway.reservations.batch(commands[:1], gateway.call())
    assert isinstance(results[0], ReservationAnswer)
    assert results[0].durable


async def test_acks_of_more_than_may_wait_are_unknown_at_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of those who wait is bounded: one more is told at once that its commit was not seen."""
    monkeypatch.setattr(watermark, "WAITERS_MAX", 1)
    await gateway.put("tee", 10, ack="durable")
    gate = Gate(gateway)
    first = asyncio.create_task(gateway.reserve(("tee", 1), ack="durable"))
    await settled(gateway)
    with pytest.raises(DurabilityUnknown, match="wait for a commit"):
        await gateway.reserve(("tee", 1), ack="durable")
    gate.open()
    assert (await first).durable


async def test_acks_of_what_redis_lost_are_never_durable(idle: Gateway) -> None:
    """Who waits for a commit when Redis loses the change is told that it is unknown, and then that it is lost."""
    await idle.put("tee", 10)
    await idle.flush()
    waiting = asyncio.create_task(idle.reserve(("tee", 2), ack="durable"))
    await settled(idle)
    assert idle.watermark.is_awaited()
    await idle.redis("FLUSHALL")
    idle.shard.close()
    await idle.keep()
    await idle.put("tee", 11, sequence=2)
    await idle.put("tee", 12, sequence=3)
    await idle.flush()
    with pytest.raises(DurabilityUnknown) as unknown:
        await waiting
    with pytest.raises(ReservationLost):
        await idle.reservations.read(unknown.value.extras["id"], idle.call())
    assert (await idle.level("tee")).held == 0


async def test_acks_survive_an_opening_that_kept_the_change(idle: Gateway) -> None:
    """Who waits for a commit while the shard is opened anew with the change in it is answered durably."""
    await idle.put("tee", 10)
    await idle.flush()
    waiting = asyncio.create_task(idle.reserve(("tee", 2), ack="durable"))
    await settled(idle)
    await idle.redis("HSET", idle.shard.keys.meta, "poison", "a test")
    idle.shard.close()
    await idle.keep()
    assert (await waiting).durable


async def test_acks_survive_an_opening_under_the_same_epoch(idle: Gateway) -> None:
    """Who waits for a commit while the shard is attached again, with nothing lost and the epoch as it was, goes on waiting."""
    await idle.put("tee", 10)
    waiting = asyncio.create_task(idle.reserve(("tee", 1), ack="durable"))
    await settled(idle)
    idle.shard.close()
    await idle.keep()
    assert idle.shard.epoch == 1
    await idle.flush()
    assert (await waiting).durable
