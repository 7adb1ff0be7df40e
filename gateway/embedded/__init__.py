"""Private servers: processes that this gateway starts, owns and ends.

Only subprocesses and sockets live here, no client library: what the servers hold is the business of `hot` and
`durable`.
"""

from __future__ import annotations

from gateway.embedded.binaries import find_postgres, find_redis
from gateway.embedded.errors import BinaryMissing, EmbeddedError, FolderInUse, FolderUnusable, ServerFailed
from gateway.embedded.folder import DataFolder
from gateway.embedded.postgres import PrivatePostgres
from gateway.embedded.valkey import PrivateRedis

__all__ = [
    "BinaryMissing",
    "DataFolder",
    "EmbeddedError",
    "FolderInUse",
    "FolderUnusable",
    "PrivatePostgres",
    "PrivateRedis",
    "ServerFailed",
    "find_postgres",
    "find_redis",
]
