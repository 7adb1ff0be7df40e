"""What Redis says of a shard beside its data: which history it continues, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.hot.shard import Shard

_FIELDS = ("epoch", "gen", "seq", "digest", "lineage", "poison", "deployment", "totals")


@dataclass(slots=True)
class Meta:
    """What Redis says of the shard. `totals` are as text; None where a version kept none, or somebody took them away."""

    epoch: int
    generation: int
    seq: int
    digest: str
    lineage: str
    is_poisoned: bool
    deployment: str
    totals: str | None


async def read_meta(shard: Shard) -> Meta | None:
    """What this Redis says, None when it does not know the shard. Raises HotStoreUnavailable."""
    values = await shard.ask_list("HMGET", shard.keys.meta, *_FIELDS)
    epoch, generation, seq, digest, lineage, poison, deployment, totals = values
    if epoch is None:
        return None
    return Meta(
        int(epoch), int(generation), int(seq), digest, lineage or "", poison is not None, deployment or "", totals
    )
