"""Batches whose replies are lost: what took effect is never told as refused, and what is not known is told as unknown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.domain.answer import BatchResult, ReservationAnswer
from gateway.domain.command import Adjust, BatchCommand, Confirm, Extend, Fulfil, Release, Reserve, Wish
from gateway.domain.errors import GatewayError, HotStoreUnavailable
from tests.hot.stub import Proxy, proxied
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


@pytest.fixture
async def lossy(stores: Stores) -> AsyncIterator[tuple[Gateway, Proxy]]:
    """A gateway with some stock, behind a proxy that loses replies."""
    async with proxied(stores.redis_url) as (proxy, url):
        stores.redis_url = url
        async with running(stores, is_flushing=False) as gateway:
            await gateway.put("tee", 20)
            yield gateway, proxy


def told(results: list[BatchResult]) -> list[str]:
    """Per result the state of its reservation, or the code of its refusal."""
    return [
        one.reservation.state if isinstance(one, ReservationAnswer) else getattr(one, "code", "?") for one in results
    ]


Steps = Callable[[str], list[BatchCommand]]
STEPS: dict[str, tuple[Steps, list[str]]] = {
    "extend, confirm": (lambda id: [Extend(id), Confirm(id)], ["held", "confirmed"]),
    "confirm, release": (lambda id: [Confirm(id), Release(id)], ["confirmed", "released"]),
    "confirm, fulfil": (lambda id: [Confirm(id), Fulfil(id)], ["confirmed", "fulfilled"]),
    "all": (
        lambda id: [Extend(id), Confirm(id), Extend(id), Fulfil(id), Confirm(id), Release(id)],
        ["held", "confirmed", "reservation_confirmed", "fulfilled", "fulfilled", "reservation_fulfilled"],
    ),
}


@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("name", STEPS)
async def test_batch_of_steps_on_one_reservation_is_told_as_it_happened(
    lossy: tuple[Gateway, Proxy], name: str, after: int, lost: int
) -> None:
    """Whichever reply is lost, once or twice: no step that took effect is refused, because of the step behind it."""
    gateway, proxy = lossy
    steps, expected = STEPS[name]
    held, other = await gateway.reserve(("tee", 2)), await gateway.reserve(("tee", 1))
    commands: list[BatchCommand] = [Confirm(str(other.reservation.id)), *steps(str(held.reservation.id))]
    run, calls = gateway.shard.run, 0

    async def losing(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        proxy.swallow = lost if calls == after else 0
        calls += 1
        return await run(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway.shard, "run", losing)
        async with asyncio.timeout(10):
            results = await gateway.reservations.batch(commands, gateway.call("memory"))

    assert told(results) == ["confirmed", *expected]
    await gateway.flush()
    assert await gateway.violations() == []


async def test_batch_without_repeated_reservations_is_one_call(
    lossy: tuple[Gateway, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a reservation that is named again begins another call of Redis."""
    gateway, _ = lossy
    ids = [str((await gateway.reserve(("tee", 1))).reservation.id) for _ in range(4)]
    run, calls = gateway.shard.run, []

    async def counted(name: str, keys: tuple[str, ...], texts: tuple[str, ...], **named: Any) -> Any:
        calls.append(len(texts))
        return await run(name, keys, texts, **named)

    monkeypatch.setattr(gateway.shard, "run", counted)
    reserve, adjust = Reserve([Wish("tee", 1)], "cart"), Adjust("tee", "main", 1, "found", None, "fix", "f")
    await gateway.reservations.batch([*map(Confirm, ids), reserve, adjust, reserve], gateway.call("memory"))
    await gateway.reservations.batch([*map(Fulfil, ids[:2]), reserve, *map(Release, ids)], gateway.call("memory"))

    assert calls == [7, 3, 4]


async def test_batch_that_breaks_in_its_middle_tells_each_operation_its_own_outcome(
    lossy: tuple[Gateway, Proxy],
) -> None:
    """What was done stays told, what may have been done is unknown, what was not begun is not applied."""
    gateway, proxy = lossy
    id = str((await gateway.reserve(("tee", 2))).reservation.id)
    run, calls = gateway.shard.run, 0

    async def losing(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        proxy.swallow = 0 if calls == 0 else 10
        calls += 1
        return await run(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway.shard, "run", losing)
        async with asyncio.timeout(10):
            commands: list[BatchCommand] = [Extend(id), Confirm(id), Reserve([Wish("tee", 1)], "cart"), Release(id)]
            results = await gateway.reservations.batch(commands, gateway.call("memory"))
    proxy.swallow = 0

    assert told(results) == ["held", *["hot_store_unavailable"] * 3]
    assert [one.outcome for one in results[1:] if isinstance(one, GatewayError)] == [
        "unknown",
        "unknown",
        "not_applied",
    ]
    assert calls == 2
    assert await gateway.link.wait_connected(5)
    assert (await gateway.reservations.read(id, gateway.call())).reservation.state == "confirmed"


async def test_batch_whose_first_call_breaks_is_refused_as_a_whole(lossy: tuple[Gateway, Proxy]) -> None:
    """Nothing is told done where nothing is known: one refusal with the outcome unknown."""
    gateway, proxy = lossy
    id = str((await gateway.reserve(("tee", 2))).reservation.id)
    proxy.swallow = 10
    with pytest.raises(HotStoreUnavailable) as refusal:
        await gateway.reservations.batch([Extend(id), Confirm(id)], gateway.call("memory"))
    proxy.swallow = 0
    assert refusal.value.outcome == "unknown"
    assert await gateway.link.wait_connected(5)
    assert (await gateway.reservations.read(id, gateway.call())).reservation.state == "held"
