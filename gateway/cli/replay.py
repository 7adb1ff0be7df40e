"""`gateway replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import (
    DEFAULT_URL,
    EXIT_FAILED,
    EXIT_NO,
    SETTLE_SECONDS_MAX,
    KeyOption,
    ShopOption,
    TtlOption,
    UrlOption,
    fail,
    fresh_run,
)

if TYPE_CHECKING:
    from gateway.cli.play.plan import Plan
    from gateway.cli.play.report import Report

SOURCE = "replay"

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="Orders as CSV: InvoiceNo, StockCode, Quantity, ...")
]
SpeedOption = Annotated[
    str, typer.Option("--speed", help="A multiple of real time, or max: as fast as the gateway answers.")
]
AbandonOption = Annotated[
    float, typer.Option("--abandon", min=0.0, max=1.0, help="Share of invoices that are left to expire.")
]
StockOption = Annotated[
    float, typer.Option("--stock", min=0.0, max=1_000.0, help="Start stock, a multiple of what FILE sells.")
]
ProcessesOption = Annotated[int, typer.Option("--processes", min=1, max=64, help="Processes that play.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Decides which invoices are abandoned.")]
LocationOption = Annotated[str, typer.Option("--location", help="Where the start stock and what comes back lie.")]
ConcurrencyOption = Annotated[
    int, typer.Option("--concurrency", min=1, max=1_000, help="Invoices under way at once, in each process.")
]
PatienceOption = Annotated[
    float, typer.Option("--patience", min=1.0, max=86_400.0, help="Seconds that a request is repeated for.")
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", help="Keep the state of the run here; the same command then goes on."),
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the report here, for machines.")]


def replay(
    file: FileArgument,
    *,
    speed: SpeedOption = "max",
    abandon: AbandonOption = 0.3,
    ttl: TtlOption = 5,
    stock: StockOption = 1.0,
    processes: ProcessesOption = 1,
    seed: SeedOption = 1,
    url: UrlOption = DEFAULT_URL,
    shop: ShopOption = "main",
    location: LocationOption = "main",
    concurrency: ConcurrencyOption = 32,
    patience: PatienceOption = 120.0,
    key: KeyOption = "",
    state: StateOption = None,
    json: JsonOption = None,
) -> None:
    """Play real orders against a running gateway, then compare every level with a count of the gateway's own
    answers.

    Status 0: everything was played and nothing differs; 1: something differs or was refused; 2: the run was
    not finished.
    """
    from gateway.cli.play.plan import Plan

    plan = Plan(
        run=fresh_run(),
        url=url,
        shop=shop,
        key=key,
        speed=_multiple(speed),
        abandon=abandon,
        ttl_seconds=ttl,
        stock=str(stock),
        seed=seed,
        concurrency=concurrency,
        processes=processes,
        location=location,
        source=SOURCE,
        patience_seconds=patience,
        settle_seconds_max=SETTLE_SECONDS_MAX,
    )
    report = _run(plan, file, state)
    _tell(report, json)
    raise typer.Exit(0 if report.is_exact else EXIT_NO)


def _multiple(speed: str) -> float:
    """The speed as a number, 0 for max."""
    import math

    if speed == "max":
        return 0.0
    try:
        multiple = float(speed)
    except ValueError:
        multiple = 0.0
    if not (math.isfinite(multiple) and multiple > 0):
        raise fail(f"--speed must be max or a number above 0, not {speed!r}")
    return multiple


def _run(plan: Plan, file: Path, state: Path | None) -> Report:
    import asyncio

    from rich.console import Console

    from gateway.cli.answer import RemoteFailed
    from gateway.cli.play.run import run
    from gateway.cli.play.watch import Watch
    from gateway.cli.records import FileUnreadable
    from gateway.loop import new_event_loop

    console = Console(stderr=True)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(
                run(plan, file, state, lambda orders: Watch(console, len(orders.invoices))),
            )
    except (RemoteFailed, FileUnreadable, OSError) as exc:
        hint = f"\nrepeat the command with --state {state} to go on" if state and state.exists() else ""
        raise fail(f"the run was not finished: {exc}{hint}") from exc


def _tell(report: Report, json: Path | None) -> None:
    import orjson
    from rich.console import Console

    report.show(Console())
    if json is None:
        return
    try:
        json.write_bytes(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as exc:
        typer.echo(f"cannot write {json}: {exc.strerror or exc}", err=True)
        raise typer.Exit(EXIT_FAILED) from exc
