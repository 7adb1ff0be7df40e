"""A reserve that nobody awaits: it ends as one that somebody does, or says that nothing was done."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from unittest.mock import AsyncMock

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.domain.command import Ack, Call, Confirm, Fulfil, Release, Reserve, Wish
from gateway.domain.errors import (
    Corrupt,
    DurabilityUnknown,
    DurableStoreUnavailable,
    GatewayError,
    HotStoreUnavailable,
    IdempotencyKeyReused,
    OutOfStock,
    ReservationNotFound,
    ReservationReleased,
    ShardRecovering,
    UnknownSku,
)
from gateway.durable.ledger import LedgerUnavailable
from gateway.service import preparing
from gateway.service.port import Expect
from gateway.service.reservations import GROUPED_LINES_MAX
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores
from tests.service.test_loading import evict

pytestmark = pytest.mark.usefixtures("patient_loading")

Outcome = ReservationAnswer | GatewayError | None


def command(quantity: int = 1, *, sku: str = "tee", key: str | None = None, fingerprint: str = "f1") -> Reserve:
    """One line."""
    return Reserve([Wish(sku, quantity)], "cart", idempotency_key=key, fingerprint=fingerprint)


def ignore(_answer: ReservationAnswer) -> None:
    """Nothing is made of what is expected."""


async def ended(
    gateway: Gateway,
    wanted: Reserve | Confirm | Fulfil | Release,
    call: Call | None = None,
    expect: Expect | None = None,
) -> Outcome:
    """How the command ended on its short way, which it must take."""
    told: list[Outcome] = []
    over = asyncio.Event()

    def hear(outcome: Outcome) -> None:
        told.append(outcome)
        over.set()

    reservations = gateway.reservations
    begin = reservations.begin_reserve if isinstance(wanted, Reserve) else reservations.begin_change
    assert begin(wanted, call or gateway.call(), hear, expect or ignore)  # type: ignore[arg-type]
    assert told == [], "told before it was begun"
    async with asyncio.timeout(10):
        await over.wait()
    (outcome,) = told
    return outcome


async def test_short_way_holds_and_replays(idle: Gateway) -> None:
    """The hold stands, is not committed yet, and a resend is answered with it."""
    await idle.put("tee", 5)

    held = await ended(idle, command(2, key="k"))
    again = await ended(idle, command(2, key="k"))

    assert isinstance(held, ReservationAnswer)
    assert isinstance(again, ReservationAnswer)
    assert (held.durable, held.replayed, again.replayed) == (False, False, True)
    assert again.told.public_id == held.told.public_id
    assert (await idle.level("tee")).held == 2
    await idle.flush()
    committed = await ended(idle, command(2, key="k"))
    assert isinstance(committed, ReservationAnswer)
    assert committed.durable


async def test_short_way_refuses_as_the_long_one(idle: Gateway) -> None:
    """Out of stock, another body under a key; nothing changed."""
    await idle.put("tee", 1)
    await ended(idle, command(1, key="k"))

    short = await ended(idle, command(2))
    reused = await ended(idle, command(1, key="k", fingerprint="f2"))

    assert isinstance(short, OutOfStock)
    assert short.extras["shortages"][0].available == 0
    assert isinstance(reused, IdempotencyKeyReused)
    assert (await idle.level("tee")).held == 1


async def test_short_way_loads_what_is_cold(idle: Gateway) -> None:
    """A sku that Redis let go of is brought back, and the units are held once."""
    await idle.put("tee", 5)
    await evict(idle, "s:main/tee")

    held = await ended(idle, command(2))

    assert isinstance(held, ReservationAnswer)
    assert (await idle.level("tee")).held == 2


async def test_short_way_loads_the_reservation_that_is_changed(idle: Gateway) -> None:
    """One that has ended, and that Redis let go of, refuses as it did before."""
    await idle.put("tee", 5)
    held = await idle.reserve(("tee", 1))
    await idle.release(held)
    await evict(idle, f"r:{held.reservation.id.random_part}")

    assert isinstance(await ended(idle, Confirm(held.told.public_id)), ReservationReleased)


async def test_short_way_and_what_nobody_knows(idle: Gateway) -> None:
    """A sku without stock is refused; for a reservation that never was None is told, and the long way then says so."""
    assert isinstance(await ended(idle, command(sku="mug")), UnknownSku)
    await idle.put("tee", 5)
    held = await idle.reserve(("tee", 1))
    id = held.reservation.id._replace(random_part="x" * len(held.reservation.id.random_part))

    assert await ended(idle, Confirm(str(id))) is None
    with pytest.raises(ReservationNotFound):
        await idle.reservations.confirm(Confirm(str(id)), idle.call())


async def test_short_way_tells_that_it_could_not_load(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal of the durable store, nothing applied; what nobody foresaw is left to the long way."""
    await idle.put("tee", 5)
    await evict(idle, "s:main/tee")

    with monkeypatch.context() as patched:
        patched.setattr(idle.ledger, "read_sku", AsyncMock(side_effect=LedgerUnavailable("away")))
        refused = await ended(idle, command())
    with monkeypatch.context() as patched:
        patched.setattr(idle.ledger, "read_sku", AsyncMock(side_effect=ZeroDivisionError))
        unforeseen = await ended(idle, command())

    assert isinstance(refused, DurableStoreUnavailable)
    assert refused.outcome == "not_applied"
    assert unforeseen is None
    await idle.redis("DEL", idle.shard.keys.ticket("s:main/tee"))  # which nobody gave back: its time is over
    await idle.reserve(("tee", 1))
    assert (await idle.level("tee")).held == 1


async def test_short_way_is_for_what_needs_no_waiting(idle: Gateway) -> None:
    """A time of its own, or many lines: nothing is begun; neither is a change of what is no reservation of ours."""
    await idle.put("tee", 5)
    many = Reserve([Wish(f"tee-{n}", 1) for n in range(GROUPED_LINES_MAX + 1)], "cart")

    def never(outcome: Outcome) -> None:
        raise AssertionError(outcome)

    begin = idle.reservations.begin_reserve
    assert not idle.reservations.begin_change(Confirm("no id"), idle.call(), never, ignore)
    assert not begin(command(), replace(idle.call(), deadline_ms=50), never, ignore)
    assert not begin(many, idle.call(), never, ignore)
    await asyncio.sleep(0.05)
    assert (await idle.level("tee")).held == 0


async def test_short_way_on_a_closed_shard_is_not_applied(idle: Gateway) -> None:
    """The refusal says that nothing happened."""
    idle.shard.close()

    refused = await ended(idle, command())

    assert isinstance(refused, ShardRecovering)
    assert refused.outcome == "not_applied"


async def test_short_way_tells_an_unknown_outcome(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis did not answer: it may have happened."""

    async def lost(*_arguments: object, **_words: object) -> None:
        raise HotStoreUnavailable("Redis does not answer", outcome="unknown")

    monkeypatch.setattr(idle.shard, "run", lost)

    refused = await ended(idle, command())

    assert isinstance(refused, HotStoreUnavailable)
    assert refused.outcome == "unknown"


async def test_short_way_tells_what_it_cannot_read(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is not one of ours is a fault, and nobody is left waiting."""
    await idle.put("tee", 5)
    monkeypatch.setattr("gateway.service.verdict.PackedReservation", lambda *_: int("no number"))

    assert isinstance(await ended(idle, command()), Corrupt)


async def test_short_way_to_a_commit_is_answered_behind_it(idle: Gateway) -> None:
    """With `durable` the answer waits for the flusher, and wakes it; a repetition waits for the same commit."""
    await idle.put("tee", 5)
    waiting = [
        asyncio.create_task(ended(idle, command(key="k"), idle.call("durable"))),
        asyncio.create_task(ended(idle, command(key="k"), idle.call("durable"))),
    ]
    await idle.until_awaited()
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)

    await idle.flush()
    first, again = await asyncio.gather(*waiting)

    assert isinstance(first, ReservationAnswer)
    assert isinstance(again, ReservationAnswer)
    assert first.durable
    assert again.durable
    assert first.told.public_id == again.told.public_id


async def test_short_way_to_a_commit_that_is_not_seen_in_time(stores: Stores) -> None:
    """The change is applied, the answer says so and names the id; the commit that comes late disturbs nobody."""
    stores.ack_timeout_ms = 50
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 5, ack="memory")

        late = await ended(gateway, command(), gateway.call("durable"))
        await gateway.flush()

        assert isinstance(late, DurabilityUnknown)
        assert late.outcome == "unknown"
        assert late.extras["id"]
        assert (await gateway.level("tee")).held == 1


async def test_short_way_expects_the_answer_while_the_commit_is_under_way(idle: Gateway) -> None:
    """What is expected is told once, before the commit and as it is told behind it; of a change in memory nothing is expected."""
    await idle.put("tee", 5)
    expected: list[ReservationAnswer] = []
    is_expected = asyncio.Event()

    def expect(answer: ReservationAnswer) -> None:
        expected.append(replace(answer))
        is_expected.set()

    assert isinstance(await ended(idle, command(), expect=expect), ReservationAnswer)
    waiting = asyncio.create_task(ended(idle, command(), idle.call("durable"), expect))
    async with asyncio.timeout(10):
        await is_expected.wait()
    assert not waiting.done()

    await idle.flush()
    outcome = await waiting

    assert expected == [outcome]
    assert isinstance(outcome, ReservationAnswer)
    assert outcome.durable


async def test_short_way_expects_nothing_of_what_has_ended(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that is seen first is told, and nothing is expected behind it."""
    monkeypatch.setattr(preparing, "PREPARE_AFTER_S", 60)
    await idle.put("tee", 5)
    expected: list[ReservationAnswer] = []
    waiting = asyncio.create_task(ended(idle, command(), idle.call("durable"), expected.append))
    await idle.until_awaited()
    await idle.flush()
    assert isinstance(await waiting, ReservationAnswer)
    (prepared,) = idle.books.preparing._waiting

    prepared.prepare()

    assert expected == []


async def test_short_way_to_a_commit_that_is_lost_with_its_epoch(idle: Gateway) -> None:
    """The shard was rebuilt without the change: nobody hears that it is durable."""
    await idle.put("tee", 5)
    await idle.flush()
    is_expected = asyncio.Event()
    waiting = asyncio.create_task(ended(idle, command(), idle.call("durable"), lambda _: is_expected.set()))
    async with asyncio.timeout(10):
        await is_expected.wait()
    await idle.redis("DEL", idle.shard.keys.log)
    idle.shard.close()

    await idle.keep()

    assert isinstance(await waiting, DurabilityUnknown)
    assert (await idle.level("tee")).held == 0


@pytest.mark.parametrize("ack", ["memory", "durable"])
async def test_short_way_through_a_life(gateway: Gateway, ack: Ack) -> None:
    """Confirm and fulfil as the long way does, and so do their repetitions; what is refused is refused."""
    await gateway.put("tee", 5)
    call = gateway.call(ack)
    held = await gateway.reserve(("tee", 2))
    given = await gateway.reserve(("tee", 1))
    id, back = str(held.reservation.id), str(given.reservation.id)

    answers = [
        await ended(gateway, wanted, call)
        for wanted in (Confirm(id), Confirm(id), Fulfil(id), Fulfil(id), Release(back, "changed my mind"))
    ]
    refused = await ended(gateway, Confirm(back), call)

    told = [answer.told.state for answer in answers if isinstance(answer, ReservationAnswer)]
    assert told == ["confirmed", "confirmed", "fulfilled", "fulfilled", "released"]
    assert [answer.durable for answer in answers if isinstance(answer, ReservationAnswer)] == [
        ack == "durable"
    ] * 5 or (ack == "memory")
    assert isinstance(refused, ReservationReleased)
    level = await gateway.level("tee")
    assert (level.on_hand, level.held, level.committed) == (3, 0, 0)


async def test_short_way_of_a_change_of_what_must_be_loaded(idle: Gateway) -> None:
    """It is loaded, and changed once."""
    await idle.put("tee", 5)
    held = await idle.reserve(("tee", 1), key="k")
    await idle.confirm(held, ack="memory")
    await idle.flush()
    id = str(held.reservation.id)
    await evict(idle, f"r:{held.reservation.id.random_part}")

    fulfilled = await ended(idle, Fulfil(id), idle.call("memory"))

    assert isinstance(fulfilled, ReservationAnswer)
    assert fulfilled.told.state == "fulfilled"
    assert (await idle.level("tee")).on_hand == 4
