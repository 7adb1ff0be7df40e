"""`gateway serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.options import ConfigOption, fail


def serve(
    config: ConfigOption = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Load a small sample catalogue and print commands to try.")
    ] = False,
) -> None:
    """Run the gateway until it is told to stop."""
    from gateway.settings import SettingsInvalid, load

    try:
        settings = load(config)
    except (SettingsInvalid, FileNotFoundError) as exc:
        raise fail(str(exc)) from exc

    # Only now: whoever mistyped a key should not wait for the whole service to be imported.
    from gateway import app

    raise typer.Exit(app.serve(settings, sample=sample, read_settings=lambda: load(config)))
