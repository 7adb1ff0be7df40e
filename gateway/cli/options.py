"""Options that several subcommands share, and how a command ends when it cannot go on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: The variable's name does not begin with GATEWAY_: those are settings of the service, and unknown ones stop
#: its start.
KEY_VARIABLE = "RESERVATION_GATEWAY_KEY"
DEFAULT_URL = "http://127.0.0.1:8080"

EXIT_NO = 1
EXIT_FAILED = 2

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A TOML file with the keys that differ from the defaults.")
]
UrlOption = Annotated[str, typer.Option("--url", help="The address of the running gateway.")]
ShopOption = Annotated[str, typer.Option("--shop", help="The shop to work on.")]
KeyOption = Annotated[
    str,
    typer.Option("--key", envvar=KEY_VARIABLE, help="The API key; better in the environment than on the command line."),
]


def fail(message: str) -> typer.Exit:
    """The message is on stderr in plain lines; raise what comes back, and the command ends with status 2."""
    typer.echo(message, err=True)
    return typer.Exit(EXIT_FAILED)
