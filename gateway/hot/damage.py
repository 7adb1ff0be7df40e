"""Damage by somebody else's hand: what of a shard is gone or of another type, and how it is given up to be rebuilt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from gateway.hot.shard import Shard

log = structlog.get_logger(__name__)


async def newest_seq(shard: Shard) -> int | None:
    """The newest number of the shard; None where meta, the log or its newest entry is gone, or is no such thing as it should be.

    The newest entry is never trimmed. Raises HotStoreUnavailable.
    """
    keys = shard.keys
    if await shard.ask("TYPE", keys.meta) != "hash" or await shard.ask("TYPE", keys.log) != "stream":
        return None
    seq = await shard.ask("HGET", keys.meta, "seq")
    if seq is None or not await shard.ask("XRANGE", keys.log, f"{seq}-0", "+", "COUNT", 1):
        return None
    return int(str(seq))


async def condemn(shard: Shard, why: str) -> None:
    """What Redis holds of the shard is not worked on any more, by anybody: it is closed, poisoned, and so rebuilt.

    A shard that was opened under a later epoch is another one, and stays. Where meta is no hash there is nothing to poison:
    whoever opens the shard finds it missing. Safe to repeat. Raises HotStoreUnavailable; then only this process knows.
    """
    shard.close()
    log.error("shard_condemned", shard=shard.number, epoch=shard.epoch, why=why)
    meta = shard.keys.meta
    if await shard.ask("TYPE", meta) != "hash":
        return
    if await shard.ask("HGET", meta, "epoch") in (None, str(shard.epoch)):
        await shard.ask("HSET", meta, "poison", why)


async def make_room(shard: Shard) -> None:
    """Meta can be written: what stood in its place without being a hash is gone. For who has raised the epoch and opens the shard."""
    if await shard.ask("TYPE", shard.keys.meta) not in ("hash", "none"):
        await shard.ask("UNLINK", shard.keys.meta)
