"""All settings as one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.settings import url
from gateway.settings.origin import KeyPath, Layer, Origin, toml_name
from gateway.settings.sections import (
    AckSettings,
    DurableSettings,
    ExpirySettings,
    FlushSettings,
    HotSettings,
    HttpSettings,
    Limits,
    LocationsSettings,
    LogSettings,
    Name,
    RecoverySettings,
    RedisSettings,
    RetentionSettings,
    TierSettings,
)

DEFAULT_TIER = "cart"
TIERS_MAX = 100

# Each lifetime counts from the creation of the hold, so they grow along the way cart → checkout → payment →
# order: a hold that moves on always has time left in its next tier.
DEFAULT_TIERS: Mapping[str, tuple[int, int, int]] = {
    "cart": (300, 1_800, 3_600),
    "checkout": (1_800, 3_600, 7_200),
    "payment": (900, 3_600, 10_800),
    "order": (86_400, 604_800, 2_592_000),
}


def _default_tiers() -> dict[str, TierSettings]:
    return {
        name: TierSettings(ttl_seconds=ttl, ttl_seconds_max=ttl_max, lifetime_seconds_max=lifetime_max)
        for name, (ttl, ttl_max, lifetime_max) in DEFAULT_TIERS.items()
    }


def _single(what: str) -> Callable[[int], int]:
    def one(count: int) -> int:
        if count > 1:
            raise PydanticCustomError(
                "told",
                "must be 1, not {count}: several {what} are not in 0.1.0",
                {"count": count, "what": what},
            )
        return count

    return one


def _speaks(schemes: tuple[str, ...]) -> Callable[[SecretStr], SecretStr]:
    def known(value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and url.scheme(text) not in schemes:
            # The address itself is not repeated: it may hold a password.
            spoken = ", ".join(f"{scheme}://" for scheme in schemes)
            raise PydanticCustomError("told", "must be empty or begin with one of {spoken}", {"spoken": spoken})
        return value

    return known


def _named(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("told", "must name a folder", {})
    return text


class Settings(BaseSettings):
    """Everything the operator decides.

    `load` reads it from the world; built directly it is the defaults and what is given. Addresses and keys
    are secrets: the plain text leaves only through `get_secret_value()`; show `redacted(url)`.
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, case_sensitive=True
    )

    data_dir: Annotated[str, AfterValidator(_named), Limits("a folder, made if it is not there")] = "./data"
    host: Annotated[str, Limits("1..253 characters")] = Field("127.0.0.1", min_length=1, max_length=253)
    port: int = Field(8_080, ge=0, le=65_535)
    workers: int = Field(1, ge=1, le=64)
    shards: Annotated[int, AfterValidator(_single("shards")), Limits("1")] = Field(1, ge=1)
    redis_url: Annotated[
        SecretStr,
        AfterValidator(_speaks(url.REDIS_SCHEMES)),
        Limits("empty, or redis://, rediss://, unix://, redis+sentinel://, redis+cluster://"),
    ] = SecretStr("")
    database_url: Annotated[
        SecretStr,
        AfterValidator(_speaks(url.DATABASE_SCHEMES)),
        Limits("empty, or postgresql://, sqlite://"),
    ] = SecretStr("")
    bootstrap_key: Annotated[SecretStr, Limits("at most 255 characters")] = Field(SecretStr(""), max_length=255)

    http: HttpSettings = HttpSettings()
    redis: RedisSettings = RedisSettings()
    durable: DurableSettings = DurableSettings()
    ack: AckSettings = AckSettings()
    tiers: dict[Name, TierSettings] = Field(default_factory=_default_tiers, max_length=TIERS_MAX)
    retention: RetentionSettings = RetentionSettings()
    hot: HotSettings = HotSettings()
    locations: LocationsSettings = LocationsSettings()
    flush: FlushSettings = FlushSettings()
    expiry: ExpirySettings = ExpirySettings()
    recovery: RecoverySettings = RecoverySettings()
    log: LogSettings = LogSettings()

    _origins: Mapping[KeyPath, Origin] = PrivateAttr(default_factory=dict)

    @field_validator("tiers", mode="after")
    @classmethod
    def _default_tier_exists(cls, tiers: dict[str, TierSettings]) -> dict[str, TierSettings]:
        if DEFAULT_TIER not in tiers:
            raise PydanticCustomError(
                "told", "must have the tier {tier}, the default of a reservation", {"tier": DEFAULT_TIER}
            )
        return tiers

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given counts: `Settings(...)` in a test must not depend on the environment."""
        return (init_settings,)

    @property
    def data_path(self) -> Path:
        """The data folder as an absolute path, from the working directory of this moment."""
        return Path(self.data_dir).expanduser().absolute()

    def traced(self, origins: Mapping[KeyPath, Origin]) -> Self:
        """These settings, which now know where their values came from."""
        self._origins = origins
        return self

    def origin(self, path: KeyPath) -> Origin:
        """Where the value of a key came from; one that no layer names came from the defaults."""
        return self._origins.get(path) or Origin(Layer.DEFAULT, toml_name(path), Layer.DEFAULT)

    def secrets(self) -> frozenset[str]:
        """Every secret text of these settings, for the redaction of log lines."""
        addresses = (self.redis_url, self.database_url)
        found = {self.bootstrap_key.get_secret_value()} - {""}
        return frozenset(found.union(*(url.secrets_of(address.get_secret_value()) for address in addresses)))
