"""`gateway version`, and `gateway --version`."""

from __future__ import annotations

from typing import Annotated

import typer


def version() -> None:
    """Print the version."""
    from gateway import __version__

    typer.echo(__version__)


def _tell(is_wanted: bool) -> None:
    if is_wanted:
        version()
        raise typer.Exit


def top(
    is_version_wanted: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_tell)
    ] = False,
) -> None:
    """What may stand before any subcommand was obeyed."""
