"""One layer of the configuration: what it says and where it says it. Only its shape is judged here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gateway.settings.keys import TIERS, Key, keys, sections
from gateway.settings.origin import (
    CONFIG_VARIABLE,
    VARIABLE_PREFIX,
    KeyPath,
    Layer,
    Origin,
    toml_name,
    variable_name,
)

# Kubernetes writes these into every pod beside a Service named `gateway`.
_SERVICE_LINK = re.compile(r"GATEWAY_(SERVICE_(HOST|PORT).*|PORT_[0-9]+_(TCP|UDP|SCTP).*)")
# 20 digits hold every limit; more would only make int() work hard.
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")


@dataclass(slots=True)
class Reading:
    """What one layer says: nested values, the origin of each key and table, what is wrong with its form."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)

    def tiers(self) -> frozenset[str]:
        """The names of the tiers that it defines or changes."""
        return frozenset(self.values.get(TIERS, {}))


def read_toml(path: Path, layer: Layer, named_by: str) -> Reading:
    """The content of a TOML file.

    One that cannot be read or parsed is a fault under `named_by`, the key that named it.
    """
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        return Reading(faults=[(named_by, f"cannot read {path}: {exc.strerror or exc}")])
    except UnicodeDecodeError as exc:
        return Reading(faults=[(named_by, f"{path} is not UTF-8: {exc.reason} at byte {exc.start}")])
    except tomllib.TOMLDecodeError as exc:
        return Reading(faults=[(named_by, f"{path} is not TOML: {exc}")])
    reading = Reading()
    reading.values = _shaped(parsed, (), reading, layer, str(path))
    return reading


def _shaped(table: dict[str, Any], path: KeyPath, reading: Reading, layer: Layer, place: str) -> dict[str, Any]:
    """The table without what should be a table and is not: merging a stronger layer would hide that."""
    kept: dict[str, Any] = {}
    for name, value in table.items():
        here = (*path, name)
        reading.origins[here] = Origin(layer, toml_name(here), place)
        if isinstance(value, dict):
            kept[name] = _shaped(value, here, reading, layer, place)
        elif here in sections() or path == (TIERS,):
            reading.faults.append((toml_name(here), f"must be a table, [{toml_name(here)}] ({place})"))
        else:
            kept[name] = value
    return kept


def read_environment(environ: Mapping[str, str], tiers: frozenset[str]) -> Reading:
    """What the `GATEWAY_*` variables say. They can change the keys of the given tiers, not make new ones."""
    reading = Reading()
    known: dict[str, list[Key]] = {}
    for key in keys(tiers).values():
        known.setdefault(variable_name(key.path), []).append(key)
    for name in sorted(environ):
        if not name.startswith(VARIABLE_PREFIX) or name == CONFIG_VARIABLE:
            continue
        found = known.get(name, [])
        if len(found) == 1:
            _put(reading.values, found[0].path, _typed(found[0], environ[name]))
            reading.origins[found[0].path] = Origin(Layer.ENVIRONMENT, name, Layer.ENVIRONMENT)
        elif found:
            fits = " and ".join(toml_name(key.path) for key in found)
            reading.faults.append((name, f"fits {fits}; set them in the file ({Layer.ENVIRONMENT})"))
        else:
            reading.faults.append((name, f"{_unknown_variable(name, known)} ({Layer.ENVIRONMENT})"))
    return reading


def _unknown_variable(name: str, known: Iterable[str]) -> str:
    if _SERVICE_LINK.fullmatch(name):
        return "made by Kubernetes for a Service named gateway: set enableServiceLinks: false in the pod"
    return f"unknown variable{suggestion(name, [*known, CONFIG_VARIABLE])}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`, did you mean …?` where a known name is near, else nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f", did you mean {near[0]}?" if near else ""


def _typed(key: Key, text: str) -> object:
    """The text as the type of its key. What is not of that type stays text, and the model refuses it."""
    if key.kind == "whole" and _WHOLE.fullmatch(text):
        return int(text)
    if key.kind == "names":
        return [name.strip() for name in text.split(",")] if text.strip() else []
    return text


def _put(values: dict[str, Any], path: KeyPath, value: object) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values[path[-1]] = value
