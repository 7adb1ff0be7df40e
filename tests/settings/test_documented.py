"""House test: config/gateway.toml documents the settings, so it must say what the model does."""

from __future__ import annotations

import json
import tomllib

import pytest

from gateway.paths import default_config
from gateway.settings import Key, keys, variable_name
from gateway.settings.keys import sections
from gateway.settings.origin import KeyPath

TEXT = default_config().read_text(encoding="utf-8")


def documented() -> dict[KeyPath, list[str]]:
    """Each key of the file with the lines of the comment directly above it."""
    found: dict[KeyPath, list[str]] = {}
    table: KeyPath = ()
    comment: list[str] = []
    for line in TEXT.splitlines():
        if line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
            continue
        if line.startswith("["):
            table = tuple(line.strip("[]").split("."))
        elif line:
            found[(*table, line.partition(" = ")[0])] = comment
        comment = []
    return found


def value_at(path: KeyPath) -> object:
    value: object = tomllib.loads(TEXT)
    for name in path:
        assert isinstance(value, dict), path
        value = value[name]
    return value


def told(key: Key) -> str:
    """The line that the comment of a key must end with."""
    default = json.dumps(list(key.default) if isinstance(key.default, tuple) else key.default)
    unit = f" Unit: {key.unit}." if key.unit else ""
    return f"Default: {default}.{unit} Limits: {key.limits}."


def test_default_file_has_every_key_of_the_model_and_no_other() -> None:
    """A setting that is not documented, or documented and gone, fails here."""
    assert set(documented()) == set(keys())


@pytest.mark.parametrize("key", keys().values(), ids=lambda key: ".".join(key.path))
def test_key_has_the_default_unit_and_limits_that_its_comment_tells(key: Key) -> None:
    """The value in the file, the words above it and the model agree."""
    default = list(key.default) if isinstance(key.default, tuple) else key.default
    assert value_at(key.path) == default
    assert documented()[key.path][-1] == told(key)


@pytest.mark.parametrize("key", keys().values(), ids=lambda key: ".".join(key.path))
def test_key_has_a_reason(key: Key) -> None:
    """Above default and limits stands why; the three keys of a tier share the words above their table."""
    if key.path[0] == "tiers":
        above = TEXT.partition(f"\n[tiers.{key.path[1]}]\n")[0].splitlines()[-1]
        assert above.startswith("# ")
    else:
        assert len(documented()[key.path]) >= 2


def test_variable_examples_of_the_file_are_real_keys() -> None:
    """The variables that the file's head shows are ones that the environment knows."""
    known = {variable_name(path) for path in keys()} | {"GATEWAY_CONFIG"}
    shown = {word.partition("=")[0] for word in TEXT.replace(",", " ").split() if word.startswith("GATEWAY_")}
    assert len(shown) >= 4
    assert shown <= known


def test_every_whole_number_has_a_unit_or_is_a_count() -> None:
    """A time or a size without a unit in its name would be read as something else one day."""
    for key in keys().values():
        name = key.path[-1]
        if key.kind == "whole" and not key.unit:
            assert not any(word in name for word in ("timeout", "ttl", "linger", "pause", "size_max")), name


def test_sections_are_the_tables_of_the_file() -> None:
    """Every section of the model is a table of the file and the other way round."""
    tables = {(name,) for name, value in tomllib.loads(TEXT).items() if isinstance(value, dict)}
    assert sections() == tables
