"""Validation errors told so that the operator can mend them: the key as written, where, what it may be."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import ErrorDetails

from gateway.settings.keys import TIERS, Key, keys, limits_shown
from gateway.settings.layers import suggestion
from gateway.settings.origin import KeyPath, Layer, Origin, toml_name

SHOWN_MAX = 60

_STRENGTH = list(reversed(Layer))


def explain(error: ErrorDetails, origins: Mapping[KeyPath, Origin], tiers: frozenset[str]) -> tuple[str, str]:
    """(the key as the operator wrote it, the message with its place)."""
    path, index = _located(error)
    if error["type"] == "relation":
        path = _stronger((*path, error["ctx"]["low"]), (*path, error["ctx"]["high"]), origins)
    origin = _origin(path, origins)
    message = f"{_message(error, path, tiers)} ({origin.place})"
    written = origin.written if path in origins else toml_name(path)
    return f"{written}{index}", message


def _located(error: ErrorDetails) -> tuple[KeyPath, str]:
    """The path of the key and the index inside its list; pydantic's mark for a tier's name is dropped."""
    path = tuple(part for part in error["loc"] if isinstance(part, str) and part != "[key]")
    index = "".join(f"[{part}]" for part in error["loc"] if isinstance(part, int))
    return path, index


def _stronger(low: KeyPath, high: KeyPath, origins: Mapping[KeyPath, Origin]) -> KeyPath:
    """Of two keys that contradict each other, the one the operator set: the other is usually the default."""

    def strength(path: KeyPath) -> int:
        return _STRENGTH.index(_origin(path, origins).layer)

    return low if strength(low) >= strength(high) else high


def _origin(path: KeyPath, origins: Mapping[KeyPath, Origin]) -> Origin:
    """The origin of a key, or of the nearest table around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return Origin(Layer.DEFAULT, toml_name(path), Layer.DEFAULT)


def _message(error: ErrorDetails, path: KeyPath, tiers: frozenset[str]) -> str:
    kind = error["type"]
    known = keys(tiers)
    if kind in ("told", "relation"):
        return error["msg"]
    if kind == "extra_forbidden":
        beside = [toml_name(other) for other in known if other[:-1] == path[:-1]]
        return f"unknown key{suggestion(toml_name(path), beside)}"
    if kind == "missing":
        return "is missing: a tier that does not ship needs each of its keys"
    if path[:1] == (TIERS,) and "[key]" in error["loc"]:
        return "the name of a tier must be [A-Za-z0-9][A-Za-z0-9._-]{0,63}"
    key = known.get(path)
    return error["msg"] if key is None else _bounded(error, key)


def _bounded(error: ErrorDetails, key: Key) -> str:
    if any(isinstance(part, int) for part in error["loc"]):
        return "must be a name, [A-Za-z0-9][A-Za-z0-9._-]{0,63}" + _shown(error["input"])
    return f"must be {limits_shown(key)}" + ("" if key.is_secret else _shown(error["input"]))


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", not a table"
    text = repr(value)
    return f", not {text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + '…'}"
