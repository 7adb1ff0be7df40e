"""A shard is opened at the primary alone, and all of it at one server: what another one has is not touched."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.errors import HotStoreUnavailable, ReservationLost, ShardRecovering
from gateway.durable.ledger import Ledger
from gateway.hot.keys import Keys
from gateway.hot.link import NotSent
from gateway.hot.shard import Shard
from gateway.service import opening
from gateway.service.rebuilding import Rebuilt, rebuild
from tests.service.gateway import Gateway


async def test_opening_at_a_server_that_may_not_be_the_primary_raises_no_epoch(
    idle: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old primary that lost its shard is cut off with this gateway: the row stays as it is, for those at the true one."""
    await idle.put("tee", 10)
    await idle.flush()
    before = await idle.ledger.read_shard(0)

    async def nobody_knows() -> None:
        raise NotSent("no majority")

    with monkeypatch.context() as patched:
        patched.setattr(idle.link, "verify", nobody_knows)
        await idle.redis("DEL", idle.shard.keys.meta)
        idle.shard.close()
        with pytest.raises(HotStoreUnavailable, match="may not be the primary: no majority"):
            await idle.keep()
        assert await idle.ledger.read_shard(0) == before

    assert await idle.keep() == 1
    assert (await idle.level("tee")).on_hand == 10


async def test_opening_that_is_led_to_another_server_halfway_installs_nothing_there(
    idle: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generation was written to the server before: one that was promoted meanwhile has half of it, and keeps its meta."""
    await idle.put("tee", 10)
    held = await idle.reserve(("tee", 3))
    await idle.flush()
    await idle.redis("DEL", idle.shard.keys.log)
    meta = await idle.redis("HGETALL", idle.shard.keys.meta)
    lineage = idle.link.lineage

    async def led_away(shard: Shard, keys: Keys, ledger: Ledger, *given: Any) -> Rebuilt:
        rebuilt = await rebuild(shard, keys, ledger, *given)
        shard.link.lineage = "of another server"
        return rebuilt

    with monkeypatch.context() as patched:
        patched.setattr(opening, "rebuild", led_away)
        idle.shard.close()
        with pytest.raises(HotStoreUnavailable, match="another Redis"):
            await idle.keep()
    assert await idle.redis("HGETALL", idle.shard.keys.meta) == meta
    assert not idle.shard.is_open

    idle.link.lineage = lineage
    assert await idle.keep() == 1
    assert (await idle.read(held)).reservation.state == "held"
    await idle.flush()  # the check waits for the event of the opening
    assert await idle.violations() == []


async def test_opening_leaves_out_what_was_written_after_its_epoch_had_ended(idle: Gateway) -> None:
    """Two servers were primaries at once: the shard was open at the other one, which ended this one's epoch at the checkpoint. What
    was written here since was told as lost, so it is not taken over though its chain is sound."""
    await idle.put("tee", 10)
    await idle.flush()
    late = await idle.reserve(("tee", 3))
    row = await idle.ledger.read_shard(0)
    assert await idle.ledger.raise_epoch(0, row.epoch, "another gateway", 1000) is not None
    assert await idle.ledger.open_shard(0, row.epoch + 1, "another gateway", 9, 0, [(row.epoch, row.checkpoint)])

    await idle.reopen()

    with pytest.raises(ReservationLost):
        await idle.read(late)
    assert (await idle.level("tee")).held == 0
    await idle.flush()  # the check waits for the event of the opening
    assert await idle.violations() == []


async def test_loading_what_another_epoch_holds_is_no_damage_but_a_shard_that_has_moved_on(idle: Gateway) -> None:
    """The shard was opened at another server and sold on there: its rows tell of holds that this Redis never had. Nothing is lost;
    the call is refused, and the shard closed here until it is opened again."""
    await idle.put("tee", 10)
    await idle.reserve(("tee", 3))
    await idle.flush()
    row = await idle.ledger.read_shard(0)
    assert await idle.ledger.raise_epoch(0, row.epoch, "another gateway", 1000) is not None
    await idle.redis("DEL", idle.shard.keys.sku("main", "tee"))

    with pytest.raises(ShardRecovering) as told:
        await idle.reserve(("tee", 1))

    assert told.value.outcome == "not_applied"
    assert not idle.shard.is_open
