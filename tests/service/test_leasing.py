"""The lease: Redis works while a gateway finds its epoch in the durable store, and no longer."""

from __future__ import annotations

import pytest

from gateway.domain.errors import ShardRecovering
from gateway.durable.ledger import LedgerUnavailable
from gateway.service import leasing as leasing_module
from gateway.service.leasing import Leaser
from tests.contract.sql import run_sql
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores


@pytest.fixture
def leasing(each_database: Stores, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """Stores of gateways that work 30 s without the durable one. On a machine that stands still a renewal may come late."""
    monkeypatch.setattr(leasing_module, "SET_MS_MAX", 30_000)
    each_database.lease_seconds = 30
    return each_database


def leaser_of(gateway: Gateway) -> Leaser:
    """The one that its job would run."""
    return Leaser(gateway.shard, gateway.ledger, 30_000)


async def lease_left_ms(gateway: Gateway) -> int:
    """What is left of it by the server's time."""
    ends_ms = int(await gateway.redis("HGET", gateway.shard.keys.meta, "lease"))
    seconds, micros = await gateway.redis("TIME")
    return ends_ms - int(seconds) * 1000 - int(micros) // 1000


async def end_lease(gateway: Gateway) -> None:
    """Its end is past."""
    await gateway.redis("HSET", gateway.shard.keys.meta, "lease", 1)


async def test_leasing_begins_with_the_opening(leasing: Stores) -> None:
    """Also a shard whose gateway dies before its first renewal stops working in time."""
    async with running(leasing, is_flushing=False) as gateway:
        assert 0 < await lease_left_ms(gateway) <= 30_000


async def test_leasing_over_is_refused_with_nothing_done_until_it_is_renewed(leasing: Stores) -> None:
    """Past the lease a reserve is `shard_recovering`, not applied; one renewal, and it is taken."""
    async with running(leasing, is_flushing=False) as gateway:
        await gateway.put("tee", 1)
        await end_lease(gateway)

        with pytest.raises(ShardRecovering) as refusal:
            await gateway.reserve(("tee", 1))
        assert await leaser_of(gateway).step() == 0
        held = await gateway.reserve(("tee", 1))

        assert refusal.value.outcome == "not_applied"
        assert gateway.shard.is_open
        assert held.reservation.state == "held"
        assert 0 < await lease_left_ms(gateway) <= 30_000


async def test_leasing_without_the_durable_store_lets_it_run_out(
    leasing: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that does not answer renews nothing."""
    async with running(leasing, is_flushing=False) as gateway:
        await end_lease(gateway)

        async def away(shard: int) -> None:
            raise LedgerUnavailable("it does not answer")

        monkeypatch.setattr(gateway.ledger, "read_shard", away)
        with pytest.raises(LedgerUnavailable):
            await leaser_of(gateway).step()

        assert await lease_left_ms(gateway) < 0
        monkeypatch.undo()


async def test_leasing_of_an_epoch_that_is_over_closes_the_shard(leasing: Stores) -> None:
    """Who finds another epoch in the durable store works no more under the old one, and gives its Redis no lease."""
    async with running(leasing, is_flushing=False) as gateway:
        await end_lease(gateway)
        assert await gateway.ledger.raise_epoch(0, gateway.shard.epoch, "another", 0) is not None

        assert await leaser_of(gateway).step() == 1

        assert not gateway.shard.is_open
        assert await lease_left_ms(gateway) < 0


async def test_leasing_of_a_database_that_was_restored_closes_the_shard(leasing: Stores) -> None:
    """Who finds fewer commits than Redis was told of works no more: the keeper then looks whether the operator must decide."""
    async with running(leasing, is_flushing=False) as gateway:
        await gateway.put("tee", 1, ack="memory")
        await gateway.flush()
        await gateway.put("tee", 2, sequence=2, ack="memory")  # its answer tells this process the checkpoint
        assert await leaser_of(gateway).step() == 0
        await run_sql(leasing.database_url, "UPDATE shards SET checkpoint = checkpoint - 1")

        assert await leaser_of(gateway).step() == 1

        assert not gateway.shard.is_open
        await run_sql(leasing.database_url, "UPDATE shards SET checkpoint = checkpoint + 1")


@pytest.mark.parametrize("is_read_before", [True, False])
async def test_leasing_across_an_opening_closes_nothing(
    leasing: Stores, monkeypatch: pytest.MonkeyPatch, is_read_before: bool
) -> None:
    """What was asked before the shard was opened anew says nothing about the new epoch, whichever of the two the answer tells."""
    async with running(leasing, is_flushing=False) as gateway:
        read_shard = gateway.ledger.read_shard

        async def slow(shard: int):  # type: ignore[no-untyped-def]
            row = await read_shard(shard)
            monkeypatch.undo()
            gateway.shard.close()
            await gateway.redis("DEL", gateway.shard.keys.meta)
            await gateway.reopen()
            return row if is_read_before else await read_shard(shard)

        monkeypatch.setattr(gateway.ledger, "read_shard", slow)

        assert await leaser_of(gateway).step() == 0

        assert gateway.shard.is_open
        assert gateway.shard.epoch == 2


@pytest.mark.parametrize(("lease_ms", "pause_s"), [(0, 1.0), (1000, 0.25), (30_000, 1.0)])
async def test_leasing_is_renewed_four_times_before_it_ends(gateway: Gateway, lease_ms: int, pause_s: float) -> None:
    """A renewal or two may fail and nobody notices."""
    assert Leaser(gateway.shard, gateway.ledger, lease_ms).pause_s == pause_s
