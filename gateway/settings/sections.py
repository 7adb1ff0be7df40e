"""The sections of the configuration: names, defaults and limits. The reasons stand in config/gateway.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
SECONDS_MAX = 31 * 86_400

AckMode = Literal["memory", "durable"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a value may be, in words, where the field's own constraints cannot say it."""

    text: str


Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Section(BaseModel):
    """A table of the TOML: frozen, no unknown key, no value of another type (`"1"` or `true` for 1)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class HttpSettings(Section):
    """Bounds of one request and of one process' requests."""

    body_bytes_max: int = Field(1_048_576, ge=1_024, le=67_108_864)
    header_bytes_max: int = Field(16_384, ge=1_024, le=262_144)
    body_timeout_ms: int = Field(10_000, ge=10, le=600_000)
    keepalive_timeout_ms: int = Field(75_000, ge=10, le=3_600_000)
    drain_timeout_ms: int = Field(6_000, ge=0, le=9_000)
    connections_max: int = Field(4_096, ge=1, le=100_000)
    requests_max: int = Field(4_096, ge=1, le=100_000)
    import_row_bytes_max: int = Field(16_384, ge=1_024, le=1_048_576)


class RedisSettings(Section):
    """The connection to the hot store."""

    prefix: Annotated[str, Limits("[a-z0-9]{1,8}")] = Field("rg", pattern=r"^[a-z0-9]{1,8}$")
    command_timeout_ms: int = Field(2_000, ge=10, le=60_000)
    connect_timeout_ms: int = Field(2_000, ge=10, le=60_000)
    reconnect_ms_max: int = Field(1_000, ge=10, le=60_000)
    pending_max: int = Field(8_192, ge=1, le=1_000_000)
    resend_max: int = Field(2, ge=0, le=10)


class DurableSettings(Section):
    """The connection to the durable store."""

    migrate: Literal["auto", "refuse"] = "auto"
    lease_seconds: int = Field(30, ge=0, le=3_600)
    pool_size: int = Field(8, ge=1, le=100)
    pool_timeout_ms: int = Field(2_000, ge=10, le=60_000)
    statement_timeout_ms: int = Field(5_000, ge=10, le=600_000)


class AckSettings(Section):
    """What an answer waits for when the request does not say."""

    reserve: AckMode = "memory"
    extend: AckMode = "durable"
    confirm: AckMode = "durable"
    fulfil: AckMode = "durable"
    release: AckMode = "durable"
    stock: AckMode = "durable"
    timeout_ms: int = Field(2_000, ge=10, le=60_000)


class TierSettings(Section):
    """How long holds of one kind live."""

    ttl_seconds: int = Field(ge=1, le=SECONDS_MAX)
    ttl_seconds_max: int = Field(ge=1, le=SECONDS_MAX)
    lifetime_seconds_max: int = Field(ge=1, le=SECONDS_MAX)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        """A default that its own maximum forbids, or a maximum that no hold can reach, is a mistake."""
        for low, high in (("ttl_seconds", "ttl_seconds_max"), ("ttl_seconds_max", "lifetime_seconds_max")):
            if getattr(self, low) > getattr(self, high):
                raise PydanticCustomError(
                    "relation",
                    "{low} ({low_value}) must not be more than {high} ({high_value})",
                    {
                        "low": low,
                        "high": high,
                        "low_value": getattr(self, low),
                        "high_value": getattr(self, high),
                    },
                )
        return self


class RetentionSettings(Section):
    """How long an ended reservation can be asked for by its idempotency key."""

    seconds: int = Field(86_400, ge=1, le=90 * 86_400)


class HotSettings(Section):
    """How long settled things stay in Redis."""

    idle_ttl_seconds: int = Field(3_600, ge=2, le=SECONDS_MAX)
    ended_ttl_seconds: int = Field(600, ge=2, le=SECONDS_MAX)


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PydanticCustomError("told", "names a location twice: {names}", {"names": ", ".join(twice)})
    return names


class LocationsSettings(Section):
    """Which location serves a line that names none."""

    priority: Annotated[
        tuple[Name, ...],
        # TOML has arrays, not tuples; the elements are still strictly strings.
        Field(strict=False, max_length=100),
        AfterValidator(_each_once),
        Limits("at most 100 names, each once"),
    ] = ()


class FlushSettings(Section):
    """The way from the log in Redis to the durable store."""

    batch_max: int = Field(2_000, ge=1, le=10_000)
    linger_ms_max: int = Field(20, ge=0, le=1_000)
    backlog_max: int = Field(1_000_000, ge=1, le=100_000_000)
    lag_ms_max: int = Field(2_000, ge=0, le=60_000)
    poll_ms: int = Field(50, ge=1, le=1_000)


class RecoverySettings(Section):
    """What a gateway does by itself when Redis is lost."""

    rebuilds_max: int = Field(20, ge=0, le=1_000)


class ExpirySettings(Section):
    """The sweeper, which returns what nobody asked for."""

    sweep_ms: int = Field(250, ge=10, le=500)
    batch_max: int = Field(64, ge=1, le=1_000)


class LogSettings(Section):
    """The log lines."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"
