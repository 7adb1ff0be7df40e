"""What the operator decides: one validated, frozen `Settings`, and where each of its values came from."""

from __future__ import annotations

from gateway.settings.invalid import SettingsInvalid
from gateway.settings.keys import Key, keys, limits_shown
from gateway.settings.loading import load
from gateway.settings.model import Settings
from gateway.settings.origin import KeyPath, Layer, Origin, toml_name, variable_name
from gateway.settings.sections import (
    AckSettings,
    DurableSettings,
    ExpirySettings,
    FlushSettings,
    HotSettings,
    HttpSettings,
    LocationsSettings,
    LogSettings,
    RedisSettings,
    RetentionSettings,
    TierSettings,
)
from gateway.settings.url import redacted

__all__ = [
    "AckSettings",
    "DurableSettings",
    "ExpirySettings",
    "FlushSettings",
    "HotSettings",
    "HttpSettings",
    "Key",
    "KeyPath",
    "Layer",
    "LocationsSettings",
    "LogSettings",
    "Origin",
    "RedisSettings",
    "RetentionSettings",
    "Settings",
    "SettingsInvalid",
    "TierSettings",
    "keys",
    "limits_shown",
    "load",
    "redacted",
    "toml_name",
    "variable_name",
]
