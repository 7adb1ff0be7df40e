"""shut: nobody works under an epoch any more."""

from __future__ import annotations

import pytest

from gateway.domain.errors import ShardRecovering
from tests.lua.warehouse import Warehouse


async def shut(warehouse: Warehouse, epoch: int) -> list[str]:
    """The raw answer."""
    keys = warehouse.keys
    return await warehouse.shard.ask_script("shut", (keys.meta, keys.log, keys.due), "n", epoch, 0, 0)


async def test_shut_ends_the_epoch_and_keeps_all_else(warehouse: Warehouse) -> None:
    """Every call is answered CLOSED, meta says which epoch it was, and log and data are as they were."""
    await warehouse.stock("A", 5)
    await warehouse.remember()
    before = await warehouse.content(warehouse.keys.meta)
    log = await warehouse.call("XRANGE", warehouse.keys.log, "-", "+")

    assert (await shut(warehouse, 1))[1] == "SHUT"

    with pytest.raises(ShardRecovering):
        await warehouse.stock("A", 6)
    assert await warehouse.content(warehouse.keys.meta) == before | {"epoch": "0", "shut": "1"}
    assert await warehouse.call("XRANGE", warehouse.keys.log, "-", "+") == log
    await reopened(warehouse)


async def test_shut_of_another_epoch_changes_nothing(warehouse: Warehouse) -> None:
    """Who saw an older epoch closes nothing, a second time is no other, and where there is no meta none is made."""
    before = await warehouse.content(warehouse.keys.meta)

    assert (await shut(warehouse, 2))[1] == "CLOSED"
    assert await warehouse.content(warehouse.keys.meta) == before
    await shut(warehouse, 1)
    after = await warehouse.content(warehouse.keys.meta)
    assert (await shut(warehouse, 1))[1] == "CLOSED"
    assert await warehouse.content(warehouse.keys.meta) == after
    await reopened(warehouse)


async def reopened(warehouse: Warehouse) -> None:
    """The shard is open under the next epoch: what opens it sees the epoch 0, and leaves no trace of the end in meta."""
    meta = await warehouse.content(warehouse.keys.meta)
    await warehouse.remember()
    reply = await warehouse.open_epoch(2, seen=(0, meta["digest"]), seq=int(meta["seq"]), ask_ms=-1, how="adopted")
    assert reply[1] == "OPENED"
    warehouse.shard.open_under(2, 1, warehouse.link.lineage, 0)
    assert "shut" not in await warehouse.content(warehouse.keys.meta)
