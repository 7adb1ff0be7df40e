"""`gateway serve`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, fail


class RoleName(StrEnum):
    """What the process does."""

    ALL = "all"
    WEB = "web"
    WORK = "work"


def serve(
    config: ConfigOption = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Load a small sample catalogue and print commands to try.")
    ] = False,
    role: Annotated[
        RoleName,
        typer.Option(
            "--role",
            help="web answers requests, work flushes and sweeps beside web ones on the same stores, all does both.",
        ),
    ] = RoleName.ALL,
) -> None:
    """Run the gateway until it is told to stop."""
    from gateway.settings import SettingsInvalid, load

    try:
        settings = load(config)
    except (SettingsInvalid, FileNotFoundError) as exc:
        raise fail(str(exc)) from exc

    # Only now: whoever mistyped a key should not wait for the whole service to be imported.
    from gateway import app

    raise typer.Exit(
        app.serve(settings, sample=sample, read_settings=lambda: load(config), role=role.value, config=config)
    )
