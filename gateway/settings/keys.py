"""The list of all keys, read from the model: for the environment's names, messages and documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from gateway.settings.model import DEFAULT_TIERS, Settings
from gateway.settings.origin import KeyPath
from gateway.settings.sections import Limits, TierSettings

Kind = Literal["whole", "text", "names"]

TIERS = "tiers"


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it is without being set, and what it may be.

    `default` is None for a tier that does not ship; `unit` is empty for counts and text.
    """

    path: KeyPath
    kind: Kind
    default: object
    unit: str
    limits: str
    is_secret: bool


@lru_cache(maxsize=8)
def keys(tiers: frozenset[str] = frozenset(DEFAULT_TIERS)) -> Mapping[KeyPath, Key]:
    """Every key by its path, with the three keys of each of these tiers, in the model's order."""
    return {key.path: key for key in _walk(Settings, (), Settings(), sorted(tiers))}


def limits_shown(key: Key) -> str:
    """The limits with their unit, as messages and comments say them: `1024..67108864 bytes`."""
    return f"{key.limits} {key.unit}".rstrip()


def sections() -> frozenset[KeyPath]:
    """The paths that are tables, the ones of single tiers left out."""
    return frozenset((name,) for name, field in Settings.model_fields.items() if _table(field) or name == TIERS)


def _walk(model: type[BaseModel], path: KeyPath, default: object, tiers: Iterable[str]) -> Iterable[Key]:
    for name, field in model.model_fields.items():
        here = (*path, name)
        table = _table(field)
        if here == (TIERS,):
            shipped = Settings().tiers
            for tier in tiers:
                yield from _walk(TierSettings, (*here, tier), shipped.get(tier), ())
        elif table is not None:
            yield from _walk(table, here, getattr(default, name), ())
        else:
            yield _key(here, field, None if default is None else getattr(default, name))


def _table(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _key(path: KeyPath, field: FieldInfo, default: object) -> Key:
    annotation = field.annotation
    kind: Kind = "whole" if annotation is int else "names" if get_origin(annotation) is tuple else "text"
    is_secret = annotation is SecretStr
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return Key(path, kind, default, _unit(path[-1]) if kind == "whole" else "", _limits(field), is_secret)


def _unit(name: str) -> str:
    """Names end in their unit, or in the unit and `_max`."""
    last = name.removesuffix("_max").rpartition("_")[2]
    return last if last in ("ms", "seconds", "bytes") else ""


def _limits(field: FieldInfo) -> str:
    told = [item.text for item in field.metadata if isinstance(item, Limits)]
    if told:
        return told[0]
    if get_origin(field.annotation) is Literal:
        return " | ".join(get_args(field.annotation))
    low = [item.ge for item in field.metadata if isinstance(item, Ge)]
    high = [item.le for item in field.metadata if isinstance(item, Le)]
    if len(low) != 1 or len(high) != 1:
        raise TypeError(f"a key needs Limits or both ge and le: {field!r}")
    return f"{low[0]}..{high[0]}"
