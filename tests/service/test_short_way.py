"""A reserve that nobody awaits: it ends as one that somebody does, or says that nothing was done."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.domain.command import Call, Reserve, Wish
from gateway.domain.errors import (
    Corrupt,
    GatewayError,
    HotStoreUnavailable,
    IdempotencyKeyReused,
    OutOfStock,
    ShardRecovering,
    UnknownSku,
)
from gateway.service.reservations import GROUPED_LINES_MAX
from tests.service.gateway import Gateway
from tests.service.test_loading import evict

Outcome = ReservationAnswer | GatewayError | None


def command(quantity: int = 1, *, sku: str = "tee", key: str | None = None, fingerprint: str = "f1") -> Reserve:
    """One line."""
    return Reserve([Wish(sku, quantity)], "cart", idempotency_key=key, fingerprint=fingerprint)


async def ended(gateway: Gateway, wanted: Reserve, call: Call | None = None) -> Outcome:
    """How the command ended on its short way, which it must take."""
    told: list[Outcome] = []
    over = asyncio.Event()

    def hear(outcome: Outcome) -> None:
        told.append(outcome)
        over.set()

    assert gateway.reservations.begin_reserve(wanted, call or gateway.call(), hear)
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


async def test_short_way_does_nothing_where_something_must_be_loaded(idle: Gateway) -> None:
    """None is told, and the long way then loads and holds, or knows that there is no such sku."""
    await idle.put("tee", 5)
    await evict(idle, "s:main/tee")

    assert await ended(idle, command()) is None
    assert await idle.redis("EXISTS", idle.shard.keys.sku("main", "tee")) == 0
    await idle.reserve(("tee", 1))
    assert isinstance(await ended(idle, command()), ReservationAnswer)
    assert (await idle.level("tee")).held == 2
    assert await ended(idle, command(sku="mug")) is None
    with pytest.raises(UnknownSku):
        await idle.reserve(("mug", 1))


async def test_short_way_is_for_what_needs_no_waiting(idle: Gateway) -> None:
    """A commit to wait for, a time of its own, or many lines: nothing is begun."""
    await idle.put("tee", 5)
    many = Reserve([Wish(f"tee-{n}", 1) for n in range(GROUPED_LINES_MAX + 1)], "cart")

    def never(outcome: Outcome) -> None:
        raise AssertionError(outcome)

    begin = idle.reservations.begin_reserve
    assert not begin(command(), idle.call("durable"), never)
    assert not begin(command(), replace(idle.call(), deadline_ms=50), never)
    assert not begin(many, idle.call(), never)
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
