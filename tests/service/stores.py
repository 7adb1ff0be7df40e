"""Where a gateway under test works: its stores, and what differs from the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from gateway.app.premises import Places
from gateway.settings import Settings
from gateway.settings.sections import (
    AckSettings,
    DurableSettings,
    FlushSettings,
    HotSettings,
    RecoverySettings,
    RedisSettings,
    RetentionSettings,
)


@dataclass
class Stores:
    """Where a gateway under test works, and what differs from the defaults."""

    redis_url: str
    database_url: str
    prefix: str = "rg"
    ack_timeout_ms: int = 5000
    command_timeout_ms: int = 5000
    connect_timeout_ms: int = 5000
    retention_seconds: int = 86_400
    idle_ttl_seconds: int = 600
    ended_ttl_seconds: int = 600
    batch_max: int = 2000
    backlog_max: int = 1_000_000
    pending_max: int = 8192
    lease_seconds: int = 0  # nobody renews it, unless a test does
    rebuilds_max: int = 20

    def settings(self) -> Settings:
        """The settings of a gateway on these stores."""
        return Settings(
            redis_url=SecretStr(self.redis_url),
            database_url=SecretStr(self.database_url),
            port=0,
            redis=RedisSettings(
                prefix=self.prefix,
                command_timeout_ms=self.command_timeout_ms,
                connect_timeout_ms=self.connect_timeout_ms,
                pending_max=self.pending_max,
                reconnect_ms_max=50,
            ),
            durable=DurableSettings(lease_seconds=self.lease_seconds),
            ack=AckSettings(timeout_ms=self.ack_timeout_ms),
            retention=RetentionSettings(seconds=self.retention_seconds),
            hot=HotSettings(idle_ttl_seconds=self.idle_ttl_seconds, ended_ttl_seconds=self.ended_ttl_seconds),
            flush=FlushSettings(batch_max=self.batch_max, backlog_max=self.backlog_max),
            recovery=RecoverySettings(rebuilds_max=self.rebuilds_max),
        )


class GivenPremises:
    """Premises that start nothing: both stores are there."""

    def __init__(self, stores: Stores) -> None:
        self.places = Places(stores.redis_url, "given", stores.database_url)
