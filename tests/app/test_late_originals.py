"""A call stuck on a broken connection reaches Redis after its repetition was answered: it changes nothing any more."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.domain.command import Adjust, Confirm, Fulfil, Release, Reserve, Wish
from gateway.domain.errors import HotStoreUnavailable
from tests.app.lossy import LossyWire, lossy_wire
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


@pytest.fixture
async def stuck(stores: Stores, short_path: Path) -> AsyncIterator[tuple[Gateway, LossyWire]]:
    """A gateway with some stock, behind a wire that can hold calls back."""
    async with lossy_wire(stores.redis_url, short_path, random.Random(0)) as (wire, url):
        stores.redis_url = url
        async with running(stores, is_flushing=False) as gateway:
            await gateway.put("tee", 10)
            await gateway.put("mug", 10)
            yield gateway, wire


Call = Callable[[Gateway, ReservationAnswer], Awaitable[Any]]

CALLS: dict[str, Call] = {
    "reserve": lambda gateway, _: gateway.reserve(("tee", 1)),
    "reserve with a key": lambda gateway, _: gateway.reserve(("tee", 1), key="cart-1"),
    "reserves of one moment": lambda gateway, _: asyncio.gather(
        gateway.reserve(("tee", 1)), gateway.reserve(("mug", 1)), gateway.reserve(("tee", 2), key="cart-2")
    ),
    "reserve of many lines": lambda gateway, _: gateway.reserve(*[("tee" if n % 2 else "mug", 1) for n in range(8)]),
    "extend": lambda gateway, held: gateway.extend(held, 900),
    "confirm": lambda gateway, held: gateway.confirm(held),
    "confirm and fulfil": lambda gateway, held: gateway.confirm(held, fulfil=True),
    "release": lambda gateway, held: gateway.release(held),
    "adjust": lambda gateway, _: gateway.adjust("tee", -2, "fix-1"),
    "put": lambda gateway, _: gateway.put("tee", 7, sequence=2),
    "pause": lambda gateway, _: gateway.pause("tee"),
    "batch": lambda gateway, held: gateway.reservations.batch(
        [
            Reserve([Wish("tee", 1)], "cart"),
            Confirm(str(held.reservation.id)),
            Adjust("mug", "main", 1, "found", None, "fix-2", "f"),
            Release("rsv_0-1-1-AAAAAAAAAAAAAAAA"),
        ],
        gateway.call("memory"),
    ),
    "batch of steps": lambda gateway, held: gateway.reservations.batch(
        [Confirm(str(held.reservation.id)), Fulfil(str(held.reservation.id)), Reserve([Wish("tee", 1)], "cart")],
        gateway.call("memory"),
    ),
}


async def levels(gateway: Gateway) -> list[tuple[int, int, int]]:
    """The counters of both skus."""
    found = [await gateway.level(sku) for sku in ("tee", "mug")]
    return [(level.on_hand, level.held, level.committed) for level in found]


@pytest.mark.parametrize("name", CALLS)
async def test_late_original_after_its_repetition_changes_nothing(stuck: tuple[Gateway, LossyWire], name: str) -> None:
    """The first attempt is recognised when it comes second: no event, no unit moved, and the answer that was given stands."""
    gateway, wire = stuck
    held = await gateway.reserve(("tee", 1), ("mug", 1))
    wire.hold()
    async with asyncio.timeout(60):
        answer = await CALLS[name](gateway, held)
    assert wire.is_held.is_set()
    after, log = await levels(gateway), await gateway.log_entries()

    (said,) = await wire.deliver()

    assert said == b"" or said.startswith(b"*"), said
    # A deadline counts from the last call: the second extend moves it by what lies between, and no unit.
    if name != "extend":
        assert await gateway.log_entries() == log
    assert await levels(gateway) == after
    if isinstance(answer, ReservationAnswer):
        assert (await gateway.read(answer)).reservation.state == answer.reservation.state
    await gateway.flush()
    assert await gateway.violations() == []


@pytest.mark.parametrize("name", [name for name in CALLS if name != "extend"])
async def test_late_original_that_nobody_waits_for_changes_nothing(stuck: tuple[Gateway, LossyWire], name: str) -> None:
    """A call that comes through when its caller's time is over is refused by Redis' clock, whatever it is."""
    gateway, wire = stuck
    held = await gateway.reserve(("tee", 1), ("mug", 1))
    gateway.shard._limits.resend_max = 0  # its sender gives up at once
    wire.hold()
    with pytest.raises(HotStoreUnavailable) as unknown:
        await CALLS[name](gateway, held)
    assert unknown.value.outcome == "unknown"
    assert await gateway.link.wait_connected(30)
    before, log = await levels(gateway), await gateway.log_entries()
    await gateway.advance(gateway.shard._limits.command_timeout_ms + 1)

    (said,) = await wire.deliver()

    assert said == b"" or b"LATE" in said
    assert await gateway.log_entries() == log
    assert await levels(gateway) == before
