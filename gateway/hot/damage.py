"""Damage by somebody else's hand: what of a shard is gone, of another type or garbage, and how it is given up to be rebuilt."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from gateway.domain.errors import HotStoreUnavailable
from gateway.hot.garbage import garbage_in
from gateway.hot.operations import touched_names

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


async def is_meddled(shard: Shard, why: str, called: Iterable[str]) -> bool:
    """Whether a script broke off, before its first write, over what none of our scripts makes; then the shard is condemned.

    `why` is the script and its error, `called` are the keys and arguments of its call.
    """
    if "WRONGTYPE" not in why:
        base = shard.keys.base
        return await is_garbage(
            shard, why, [name for text in called for name in touched_names(text.removeprefix(base))]
        )
    with suppress(HotStoreUnavailable):  # told or not, whoever calls next finds it again
        await condemn(shard, why)
    return True


async def is_garbage(shard: Shard, why: str, names: Iterable[str]) -> bool:
    """Whether a key of these names holds garbage, as far as Redis answers; then the shard is condemned, and the log names the key."""
    key = ""
    with suppress(HotStoreUnavailable):
        key = await garbage_in(shard, names)
        if key:
            await condemn(shard, f"{key} holds garbage; {why}")
    return bool(key)


async def make_room(shard: Shard) -> None:
    """Meta can be written: what stood in its place without being a hash is gone. For who has raised the epoch and opens the shard."""
    if await shard.ask("TYPE", shard.keys.meta) not in ("hash", "none"):
        await shard.ask("UNLINK", shard.keys.meta)
