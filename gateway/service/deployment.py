"""The deployment that this process belongs to: settled at the start, and looked at again before a shard is opened."""

from __future__ import annotations

from gateway.domain.errors import Corrupt
from gateway.durable.ledger import Deployment, DeploymentMismatch, Ledger


async def verify_store(ledger: Ledger, own: Deployment) -> None:
    """The durable store is still the one that this process started with: behind an address stands what somebody put there.

    Raises Corrupt, also for other shards, hash or prefix; LedgerUnavailable.
    """
    try:
        stored = await ledger.settle_deployment(own.shards, own.hash, own.prefix)
    except DeploymentMismatch as problem:
        raise Corrupt(str(problem)) from problem
    if stored.id != own.id:
        raise Corrupt("the durable store is another deployment's than at the start")
