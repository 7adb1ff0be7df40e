"""Reading the settings from the world: environment over the operator's file over the defaults that ship."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from gateway.paths import default_config
from gateway.settings.faults import explain
from gateway.settings.invalid import SettingsInvalid
from gateway.settings.layers import Reading, read_environment, read_toml
from gateway.settings.model import Settings
from gateway.settings.origin import CONFIG_VARIABLE, KeyPath, Layer, Origin


class _ReadingSource(PydanticBaseSettingsSource):
    """One layer, handed to pydantic-settings, which merges the layers key by key."""

    def __init__(self, settings_cls: type[BaseSettings], reading: Reading) -> None:
        super().__init__(settings_cls)
        self._reading = reading

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._reading.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._reading.values


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in force: `environ` (default: the process') over the operator's TOML over the shipped one.

    The operator's file is `path` (the command line's), else the one `GATEWAY_CONFIG` names, else none.

    Raises:
        SettingsInvalid: names every key that is unknown, out of its limits or contradicts another.
        FileNotFoundError: the installation is incomplete, the defaults are not there.

    Reads two small files and touches nothing; safe to repeat at any time.
    """
    environ = os.environ if environ is None else environ
    default = read_toml(default_config(), Layer.DEFAULT, named_by=Layer.DEFAULT)
    operator = _read_operator(path, environ)
    tiers = default.tiers() | operator.tiers()
    environment = read_environment(environ, tiers)
    readings = (environment, operator, default)

    faults = [fault for reading in readings for fault in reading.faults]
    origins: dict[KeyPath, Origin] = {**default.origins, **operator.origins, **environment.origins}
    try:
        settings = _merged(readings).traced(origins)
    except ValidationError as exc:
        # A layer's mistake of form was left out of its values, so what the model says is always something
        # else.
        raise SettingsInvalid([*faults, *(explain(error, origins, tiers) for error in exc.errors())]) from exc
    if faults:
        raise SettingsInvalid(faults)
    return settings


def _read_operator(path: Path | None, environ: Mapping[str, str]) -> Reading:
    if path is not None:
        return read_toml(path, Layer.OPERATOR, named_by="--config")
    if named := environ.get(CONFIG_VARIABLE):
        return read_toml(Path(named).expanduser(), Layer.OPERATOR, named_by=CONFIG_VARIABLE)
    return Reading()


def _merged(readings: tuple[Reading, ...]) -> Settings:
    sources = tuple(_ReadingSource(Settings, reading) for reading in readings)
    # The documented argument for sources that are already there: the class' own sources read nothing but
    # arguments.
    prepared: dict[str, Any] = {"_build_sources": (sources, {})}
    return Settings(**prepared)
