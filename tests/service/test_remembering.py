"""Remembering: a key is known as long as its sale lives, also when Redis was lost longer ago than a retention."""

from __future__ import annotations

import pytest

from gateway.domain.answer import ReservationAnswer
from gateway.durable.ledger import LedgerUnavailable
from gateway.service.remembering import LOOK_S_MAX, Remembering
from gateway.service.ticking import Ticker
from tests.lua.warehouse import DAY_MS, POLICY
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


async def sold_and_lost(gateway: Gateway, *, is_confirmed: bool = True) -> ReservationAnswer:
    """A sale with a key is in the durable store, Redis was lost, and the shard is open again."""
    await gateway.put("tee", 5)
    sold = await gateway.reserve(("tee", 2), key="buyer")
    if is_confirmed:
        sold = await gateway.confirm(sold)
    await gateway.flush()
    await gateway.redis("FLUSHALL")
    gateway.shard.close()
    await gateway.keep()
    return sold


async def asking_ends_in(gateway: Gateway, left_ms: int) -> None:
    """The time since the rebuild is nearly a retention: it ends so much later than the shard's clock."""
    await gateway.redis("HSET", gateway.shard.keys.meta, "ask_until", await gateway.clock_ms() + left_ms)


async def asked_for_ms(gateway: Gateway) -> int:
    """For how long from now unknown keys are asked for."""
    return int(await gateway.redis("HGET", gateway.shard.keys.meta, "ask_until")) - await gateway.clock_ms()


def looking(gateway: Gateway) -> tuple[Remembering, Ticker]:
    """The two steps, as a gateway puts them together."""
    remembering = Remembering(gateway.shard, gateway.ledger, lambda: POLICY)
    return remembering, Ticker(gateway.shard, lambda: POLICY, remembering.is_needed)


@pytest.mark.parametrize("is_confirmed", [False, True])
async def test_remembering_lasts_as_long_as_a_sale_of_before_lives(each_database: Stores, is_confirmed: bool) -> None:
    """Nearly a retention after the rebuild asking is prolonged for another one, and the key still finds its sale."""
    async with running(each_database, is_flushing=False) as gateway:
        sold = await sold_and_lost(gateway, is_confirmed=is_confirmed)
        remembering, ticker = looking(gateway)
        await asking_ends_in(gateway, 600_000)

        await remembering.step()
        await ticker.step()

        assert remembering.is_needed()
        assert DAY_MS - 60_000 < await asked_for_ms(gateway) <= DAY_MS
        again = await gateway.reserve(("tee", 2), key="buyer")
        assert (again.replayed, again.reservation.id) == (True, sold.reservation.id)


async def test_remembering_ends_with_the_last_sale_of_before(each_database: Stores) -> None:
    """When it is fulfilled, and for what was sold since, nothing is prolonged: those keys are in Redis."""
    async with running(each_database, is_flushing=False) as gateway:
        sold = await sold_and_lost(gateway)
        await gateway.fulfil(sold)
        await gateway.confirm(await gateway.reserve(("tee", 1), key="another"))
        await gateway.flush()
        remembering, ticker = looking(gateway)
        await asking_ends_in(gateway, 600_000)

        await remembering.step()
        await ticker.step()

        assert not remembering.is_needed()
        assert await asked_for_ms(gateway) <= 600_000


async def test_remembering_begins_nothing_that_is_over(each_database: Stores) -> None:
    """Where unknown keys are not asked for any more, a sale of before does not make scripts ask again."""
    async with running(each_database, is_flushing=False) as gateway:
        await sold_and_lost(gateway)
        remembering, ticker = looking(gateway)
        await asking_ends_in(gateway, -1)

        await remembering.step()
        await ticker.step()

        assert await asked_for_ms(gateway) <= 0


async def test_remembering_keeps_what_it_found_while_the_durable_store_is_away(
    each_database: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that fails says nothing: asking goes on; of another generation it says nothing either."""
    async with running(each_database, is_flushing=False) as gateway:
        await sold_and_lost(gateway)
        remembering, _ = looking(gateway)
        await remembering.step()

        async def away(shard: int, epoch: int) -> bool:
            raise LedgerUnavailable

        monkeypatch.setattr(gateway.ledger, "has_live_before", away)
        assert await remembering.step() == 0  # it has just looked
        assert remembering._looked_s is not None
        remembering._looked_s -= LOOK_S_MAX  # not 0: a machine that has just been started counts from there
        with pytest.raises(LedgerUnavailable):
            await remembering.step()

        assert remembering.is_needed()


async def test_remembering_looks_for_nothing_where_redis_was_never_lost(each_database: Stores) -> None:
    """The first generation holds every key there is."""
    async with running(each_database, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        await gateway.confirm(await gateway.reserve(("tee", 2), key="buyer"))
        await gateway.flush()
        remembering, _ = looking(gateway)

        await remembering.step()

        assert not remembering.is_needed()
