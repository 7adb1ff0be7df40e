"""All subcommands on one screen."""

from __future__ import annotations

import typer

from gateway.cli import check, flashsale, import_stock, repair, replay, serve, version


def build() -> typer.Typer:
    """The command with every subcommand, ready to be called."""
    app = typer.Typer(
        name="gateway",
        help="Reservation Gateway: units of stock are promised once, with a deadline, and never lost.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,
    )
    app.callback()(version.top)
    app.command("serve")(serve.serve)
    app.command("check")(check.check)
    app.command("repair")(repair.repair)
    app.command("import")(import_stock.import_stock)
    app.command("replay")(replay.replay)
    app.command("flashsale")(flashsale.flashsale)
    app.command("version")(version.version)
    return app
