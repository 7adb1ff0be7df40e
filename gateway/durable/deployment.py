"""The deployment: what the first gateway on a store settled for all that follow."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import select, text

from gateway.durable.database import Connection
from gateway.durable.ledger import DeploymentMismatch
from gateway.durable.rows import Deployment
from gateway.durable.schema import deployments
from gateway.durable.statement import Statement

_RECORD: Final = Statement(
    text(
        "INSERT INTO deployments (single, id, shards, hash, prefix)"
        " VALUES (1, :id, :shards, :hash, :prefix) ON CONFLICT DO NOTHING"
    )
)
_READ: Final = Statement(select(deployments.c.id, deployments.c.shards, deployments.c.hash, deployments.c.prefix))


async def settle(connection: Connection, shards: int, hash_name: str, prefix: str) -> Deployment:
    """The stored deployment, which agrees with the given values; recorded where there was none.

    Raises:
        DeploymentMismatch: another number of shards, hash or prefix was settled before.
    """
    await connection.execute(_RECORD, id=secrets.token_hex(8), shards=shards, hash=hash_name, prefix=prefix)
    ((stored_id, *stored),) = await connection.fetch(_READ)
    different = [
        f"{name} is {ours!r} here and {theirs!r} in the store"
        for name, ours, theirs in zip(("shards", "hash", "prefix"), (shards, hash_name, prefix), stored, strict=True)
        if ours != theirs
    ]
    if different:
        raise DeploymentMismatch(
            f"the durable store belongs to a deployment with other settings: {'; '.join(different)}"
        )
    return Deployment(stored_id, *stored)
