"""Meta: what Redis itself says of a shard, read as it stands, whether the shard is open or not."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.hot.keys import Keys
from gateway.hot.shard import Shard

_FIELDS = ("epoch", "shut", "gen", "seq", "digest", "checkpoint", "lineage", "poison", "deployment", "totals")


@dataclass(slots=True)
class Meta:
    """What Redis says of the shard. `epoch` is the one it last worked under, `seen_epoch` the field as it stands: 0 once shut.

    `totals` are as text; None where a version kept none, or somebody took them away.
    """

    epoch: int
    seen_epoch: int
    generation: int
    seq: int
    digest: str
    checkpoint: int
    lineage: str
    is_poisoned: bool
    deployment: str
    totals: str | None

    def is_whole(self, lineage: str) -> bool:
        """Whether the server still is the one that this was written for, never restarted since, and not known to be damaged."""
        return self.lineage == lineage and not self.is_poisoned


async def read_meta(shard: Shard) -> Meta | None:
    """What stands there; None when nothing does, or something that is no meta. Raises HotStoreUnavailable."""
    if await shard.ask("TYPE", shard.keys.meta) != "hash":
        return None
    values = await shard.ask_list("HMGET", shard.keys.meta, *_FIELDS)
    epoch, shut, generation, seq, digest, checkpoint, lineage, poison, deployment, totals = values
    if epoch is None:
        return None
    seen_epoch = int(epoch)
    return Meta(
        seen_epoch or int(shut or 0),
        seen_epoch,
        int(generation),
        int(seq),
        digest,
        int(checkpoint or 0),
        lineage or "",
        poison is not None,
        deployment or "",
        totals,
    )


async def shut(shard: Shard, meta: Meta) -> None:
    """In Redis nobody works under the epoch of this meta any more, whoever they are; what is in the log stays. Safe to repeat.

    Raises HotStoreUnavailable.
    """
    keys = Keys(shard.prefix, shard.number, meta.generation)
    await shard.ask_script("shut", (keys.meta, keys.log, keys.due), "shut", meta.seen_epoch, 0, 0)
