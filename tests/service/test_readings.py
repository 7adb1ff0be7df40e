"""A sku that nobody awaits: read with all that are asked for at the moment, told to everybody who asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.domain.answer import SkuAnswer
from gateway.domain.command import Call
from gateway.domain.errors import Corrupt, GatewayError, HotStoreUnavailable, ShardRecovering, SkuNotFound
from gateway.hot.readings import NAMES_MAX
from tests.service.gateway import Gateway
from tests.service.test_loading import evict

pytestmark = pytest.mark.usefixtures("patient_loading")

Outcome = SkuAnswer | GatewayError | None


async def told(gateway: Gateway, *skus: str, call: Call | None = None) -> list[Outcome]:
    """What everybody is told who asks at this moment."""
    outcomes: dict[int, Outcome] = {}
    over = asyncio.Event()

    def hear(place: int, outcome: Outcome) -> None:
        assert place not in outcomes, "told twice"
        outcomes[place] = outcome
        if len(outcomes) == len(skus):
            over.set()

    for place, sku in enumerate(skus):
        assert gateway.stock.begin_read(sku, call or gateway.call(), lambda o, place=place: hear(place, o))
    assert outcomes == {}, "told before it was begun"
    async with asyncio.timeout(10):
        await over.wait()
    return [outcomes[place] for place in range(len(skus))]


async def calls_of(gateway: Gateway, name: str) -> int:
    """How many calls of a script were answered so far."""
    from gateway import metrics

    return int(sum(bucket.get() for bucket in metrics.HOT_COMMAND_SECONDS[name]._buckets))


async def test_readings_of_a_moment_are_one_call_and_one_answer(idle: Gateway) -> None:
    """Whoever asks for the same sku gets the same object; others their own; as the long way tells them."""
    await idle.put("tee", 5)
    await idle.put("mug", 7, location="shelf")
    before = await calls_of(idle, "read_sku")

    outcomes = await told(idle, *["tee", "mug"] * 20)
    calls = await calls_of(idle, "read_sku") - before

    assert calls == 1
    assert outcomes[0] == await idle.stock.read("tee", idle.call())
    assert outcomes[1] == await idle.stock.read("mug", idle.call())
    assert all(outcome is outcomes[place % 2] for place, outcome in enumerate(outcomes))


async def test_readings_see_what_was_answered_before(idle: Gateway) -> None:
    """A reading that is begun after a write was answered tells it, also right behind other readings."""
    await idle.put("tee", 100)
    for count in range(1, 20):
        await idle.reserve(("tee", 1))
        first, second = await told(idle, "tee", "tee")
        assert isinstance(first, SkuAnswer)
        assert first is second
        assert first.sku.total("held") == count


async def test_readings_of_what_is_not_there(idle: Gateway) -> None:
    """What must be loaded is for the long way, and its neighbours with it; that there is no such sku is loaded, too."""
    await idle.put("tee", 5)
    await evict(idle, "s:main/tee")
    await idle.put("mug", 7)

    assert await told(idle, "tee", "mug") == [None, None]
    await idle.stock.read("tee", idle.call())
    with pytest.raises(SkuNotFound):
        await idle.stock.read("cup", idle.call())
    tee, cup, mug = await told(idle, "tee", "cup", "mug")

    assert isinstance(tee, SkuAnswer)
    assert isinstance(cup, SkuNotFound)
    assert isinstance(mug, SkuAnswer)


async def test_readings_keep_shops_apart(idle: Gateway) -> None:
    """The same name in two shops is two skus."""
    await idle.put("tee", 5)

    assert await told(idle, "tee", call=idle.call(shop="other")) == [None]
    (own,) = await told(idle, "tee")

    assert isinstance(own, SkuAnswer)


async def test_readings_of_many_skus_are_bounded_calls(idle: Gateway) -> None:
    """More than fit one call are several, and everybody is told his own."""
    names = [f"sku-{n}" for n in range(NAMES_MAX * 2 + 5)]
    for name in names:
        await idle.put(name, 1)
    before = await calls_of(idle, "read_sku")

    outcomes = await told(idle, *names)
    calls = await calls_of(idle, "read_sku") - before

    assert calls == 3
    assert [outcome.sku.sku for outcome in outcomes if isinstance(outcome, SkuAnswer)] == names


async def test_readings_are_not_for_who_has_a_time_of_his_own(idle: Gateway) -> None:
    """A request with a deadline travels alone."""

    def never(outcome: Outcome) -> None:
        raise AssertionError(outcome)

    assert not idle.stock.begin_read("tee", replace(idle.call(), deadline_ms=50), never)


async def test_readings_on_a_closed_shard_are_refused_each(idle: Gateway) -> None:
    """Everybody gets a refusal of his own."""
    await idle.put("tee", 5)
    idle.shard.close()

    first, second = await told(idle, "tee", "tee")

    assert isinstance(first, ShardRecovering)
    assert isinstance(second, ShardRecovering)
    assert first is not second


async def test_readings_that_break_off_leave_nobody_waiting(idle: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens to the call, everybody is told; where a text cannot be read nothing is told, and the long way finds out."""
    await idle.put("tee", 5)

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("not expected")

    with monkeypatch.context() as patch:
        patch.setattr(idle.shard, "run", broken)
        patch.setattr(asyncio.get_running_loop(), "call_exception_handler", lambda _: None, raising=False)
        outcomes = await told(idle, "tee", "tee")
    monkeypatch.setattr("gateway.service.stock.parse_sku", lambda text: int("none"))
    (unreadable,) = await told(idle, "tee")

    assert [type(outcome) for outcome in outcomes] == [HotStoreUnavailable] * 2
    assert unreadable is None
    with pytest.raises(Corrupt):
        await idle.stock.read("tee", idle.call())
