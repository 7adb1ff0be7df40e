"""A call is sent again because its reply was lost, and meanwhile others have gone on from what it did."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.domain.errors import GatewayError, HotStoreUnavailable, ReservationReleased
from gateway.hot.link import Lost
from tests.service.gateway import Gateway


@pytest.mark.parametrize("is_batch", [False, True])
async def test_confirm_sent_again_after_somebody_released_it_is_not_told_as_not_applied(
    idle: Gateway, monkeypatch: pytest.MonkeyPatch, is_batch: bool
) -> None:
    """The first attempt was applied and then undone by another: "released, nothing happened" would be a lie. Who asks again is
    told how things stand."""
    await idle.put("tee", 10)
    held = await idle.reserve(("tee", 3))
    send, released = idle.link.call, list[asyncio.Task[Any]]()

    def call(*arguments: str | int | bytes) -> asyncio.Future[Any]:
        reply = send(*arguments)
        if released or not str(arguments[1]).startswith(("confirm_", "batch_")):
            return reply
        lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        released.append(asyncio.create_task(idle.release(held)))
        released[0].add_done_callback(lambda _: lost.set_exception(Lost("the reply is lost")))
        return lost

    async def confirm() -> None:
        if not is_batch:
            await idle.confirm(held)
            return
        from gateway.domain.command import Confirm

        (result,) = await idle.reservations.batch([Confirm(str(held.reservation.id))], idle.call("memory"))
        if isinstance(result, GatewayError):
            raise result

    monkeypatch.setattr(idle.link, "call", call)
    with pytest.raises(HotStoreUnavailable) as told:
        await confirm()
    with pytest.raises(ReservationReleased):
        await confirm()

    assert told.value.outcome == "unknown"
    types = [
        line.split("\t")[3]
        for _, fields in await idle.log_entries()
        for line in fields[1].split("\n")
        if line[0] == "E"
    ]
    assert types[-2:] == ["stock.confirmed", "stock.released"]
