"""Where a value came from, and what its key is called there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

KeyPath = tuple[str, ...]

VARIABLE_PREFIX = "GATEWAY_"
CONFIG_VARIABLE = "GATEWAY_CONFIG"

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_NOT_IN_VARIABLE = re.compile(r"[^A-Z0-9_]")


class Layer(StrEnum):
    """The layers of the configuration, strongest first."""

    ENVIRONMENT = "environment"
    OPERATOR = "operator file"
    DEFAULT = "default file"


@dataclass(frozen=True, slots=True)
class Origin:
    """One value's place: the layer, the key as it is written there, and the file (or `environment`)."""

    layer: Layer
    written: str
    place: str


def toml_name(path: KeyPath) -> str:
    """The key as a TOML file writes it with dots: `http.body_bytes_max`, `tiers."a.b".ttl_seconds`."""
    return ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in path)


def variable_name(path: KeyPath) -> str:
    """The environment variable of a key: `GATEWAY_PORT`, `GATEWAY_HTTP__BODY_BYTES_MAX`.

    What a variable's name cannot hold (the `-` and `.` of a tier's name) becomes `_`.
    """
    return VARIABLE_PREFIX + "__".join(_NOT_IN_VARIABLE.sub("_", part.upper()) for part in path)
