"""What several subcommands share: options, what a run of one is called, and how it ends when it cannot go on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: The variable's name does not begin with GATEWAY_: those are settings of the service, and unknown ones stop
#: its start.
KEY_VARIABLE = "RESERVATION_GATEWAY_KEY"
DEFAULT_URL = "http://127.0.0.1:8080"

#: A sweeper returns due units within a second; a level that is wrong for longer is wrong.
SETTLE_SECONDS_MAX = 10.0

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
TtlOption = Annotated[int, typer.Option("--ttl", min=1, max=86_400, help="Seconds that a hold lives.")]


def fresh_run() -> str:
    """A name that no other run has: the time for people, chance for two in one second."""
    import secrets
    import time

    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(4)}"


def fail(message: str) -> typer.Exit:
    """The message is on stderr in plain lines; raise what comes back, and the command ends with status 2."""
    typer.echo(message, err=True)
    return typer.Exit(EXIT_FAILED)
