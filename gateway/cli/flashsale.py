"""`gateway flashsale`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    from gateway.cli.sale.pay_delay import PayDelay
    from gateway.cli.sale.plan import Plan
    from gateway.cli.sale.result import Result

DEFAULT_RATE = 200.0
EXIT_INTERRUPTED = 130
VIOLATIONS_SHOWN_MAX = 20

SkusOption = Annotated[int, typer.Option("--skus", min=1, max=1_000, help="Fresh skus that are made and sold.")]
UnitsOption = Annotated[int, typer.Option("--units", min=1, max=1_000_000, help="Units of each sku.")]
BuyersOption = Annotated[
    int, typer.Option("--buyers", min=1, max=1_000_000, help="Buyers in all, each wants one unit.")
]
RateOption = Annotated[
    float,
    typer.Option(
        "--rate", min=0.0, max=50_000.0, help="Open loop: buyers per second, whatever is answered.  [default: 200]"
    ),
]
ArrivalsOption = Annotated[
    Literal["poisson", "even"], typer.Option("--arrivals", help="How the open loop's buyers come.")
]
ConcurrencyOption = Annotated[
    int, typer.Option("--concurrency", min=0, max=10_000, help="Closed loop instead: so many buyers at once.")
]
AbandonOption = Annotated[float, typer.Option("--abandon", min=0.0, max=1.0, help="Share of buyers that never pay.")]
PayDelayOption = Annotated[
    str, typer.Option("--pay-delay", help="Seconds to pay: 2 (fixed), 1..5 (even) or exp:2 (the mean).")
]
DuplicatesOption = Annotated[
    float,
    typer.Option("--duplicate-requests", min=0.0, max=1.0, help="Share of requests sent twice with the same key."),
]
BotsOption = Annotated[
    float, typer.Option("--bots", min=0.0, max=1.0, help="Share of buyers that try again and again and never pay.")
]
BotTriesOption = Annotated[int, typer.Option("--bot-tries", min=1, max=1_000, help="Tries of each bot.")]
DurationOption = Annotated[
    float, typer.Option("--duration", min=0.0, max=86_400.0, help="No buyer comes after so many seconds; 0: all come.")
]
ConnectionsOption = Annotated[int, typer.Option("--connections", min=1, max=4_000, help="Connections at most.")]
PatienceOption = Annotated[
    float, typer.Option("--patience", min=1.0, max=3_600.0, help="Seconds that a request is repeated for.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Decides who abandons, when they come and what they want.")]
LocationOption = Annotated[str, typer.Option("--location", help="Where the stock lies.")]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="DIR", help="Write the report there, as HTML and as JSON.")
]
KeepOption = Annotated[bool, typer.Option("--keep", help="Leave the skus and reservations as they are at the end.")]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Do not ask before loading a gateway that is not on this machine.")
]
ConservationOption = Annotated[
    bool, typer.Option("--conservation/--no-conservation", help="Let the gateway check all its books at the end.")
]


def flashsale(
    *,
    url: UrlOption = DEFAULT_URL,
    skus: SkusOption = 1,
    units: UnitsOption = 100,
    buyers: BuyersOption = 1_000,
    rate: RateOption = 0.0,
    arrivals: ArrivalsOption = "poisson",
    concurrency: ConcurrencyOption = 0,
    abandon: AbandonOption = 0.2,
    pay_delay: PayDelayOption = "exp:1",
    duplicate_requests: DuplicatesOption = 0.05,
    bots: BotsOption = 0.0,
    bot_tries: BotTriesOption = 20,
    ttl: TtlOption = 60,
    duration: DurationOption = 0.0,
    connections: ConnectionsOption = 256,
    patience: PatienceOption = 30.0,
    seed: SeedOption = 1,
    report: ReportOption = None,
    shop: ShopOption = "main",
    location: LocationOption = "main",
    key: KeyOption = "",
    keep: KeepOption = False,
    yes: YesOption = False,
    conservation: ConservationOption = True,
) -> None:
    """Load a running gateway like a flash sale, on skus of its own, and prove that exactly the stock was sold.

    Status 0: nothing was oversold or lost; 1: something was; 2: it could not be done, or not be judged. The key needs the scopes
    reserve, stock:read and stock:write, and ops for the gateway's own check.
    """
    from gateway.cli.sale.plan import Plan

    if rate and concurrency:
        raise fail("--rate is an open loop and --concurrency a closed one: choose one of them")
    plan = Plan(
        run=fresh_run(), url=url, shop=shop, key=key, location=location,
        skus=skus, units=units, buyers=buyers,
        rate_per_second=0.0 if concurrency else rate or DEFAULT_RATE, arrivals=arrivals, concurrency=concurrency,
        abandon=abandon, pay_delay=_delay(pay_delay), pay_delay_text=pay_delay, duplicates=duplicate_requests,
        bots=bots, bot_tries=bot_tries, ttl_seconds=ttl, duration_seconds=duration, connections=connections,
        patience_seconds=patience, settle_seconds_max=SETTLE_SECONDS_MAX, seed=seed,
        has_conservation=conservation, is_kept=keep,
    )  # fmt: skip
    raise typer.Exit(_obey(plan, report, is_agreed=yes))


def _obey(plan: Plan, report: Path | None, *, is_agreed: bool) -> int:
    """The sale took place and was told; returns the exit status."""
    _make_folder(report)
    if not is_agreed:
        _ask_first(plan)
    result = _run(plan)
    told = result.as_json()
    _tell(told)
    if report is not None:
        _write(told, report, plan.run)
    if result.verdict.violations_count:
        return EXIT_NO
    is_clean = result.cleared is None or not result.cleared.failures
    return 0 if result.verdict.is_exact and is_clean else EXIT_FAILED


def _delay(text: str) -> PayDelay:
    from gateway.cli.sale.pay_delay import parse_pay_delay

    try:
        return parse_pay_delay(text)
    except ValueError as exc:
        raise fail(f"--pay-delay {exc}") from exc


def _ask_first(plan: Plan) -> None:
    """Somebody has agreed to load a gateway that others may be using; one on loopback needs no consent."""
    if is_loopback(plan.url):
        return
    pace = f"{plan.rate_per_second:g} buyers a second" if plan.is_open_loop else f"{plan.concurrency} buyers at once"
    warning = (
        f"{plan.url} is not on this machine. {plan.buyers:,} buyers will load it, {pace}, on {plan.skus} new skus in shop "
        f"{plan.shop}; whoever uses it now will feel that."
    )
    if not sys.stdin.isatty():
        raise fail(f"{warning}\nrepeat the command with --yes if that is meant")
    if not typer.confirm(f"{warning}\nGo on?", err=True):
        raise fail("nothing was done")


def is_loopback(url: str) -> bool:
    """Whether the address is surely of this machine: `localhost` or a loopback address by number."""
    import ipaddress
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _run(plan: Plan) -> Result:
    import asyncio

    from rich.console import Console

    from gateway.cli.answer import RemoteFailed
    from gateway.cli.sale.run import run
    from gateway.cli.sale.watch import Watch
    from gateway.loop import new_event_loop

    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(run(plan, Watch(Console(stderr=True), plan)))
    except KeyboardInterrupt as exc:
        typer.echo("interrupted: there is no verdict", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from exc
    except (RemoteFailed, OSError) as exc:
        raise fail(f"the sale was not finished: {exc}") from exc


def _tell(told: dict[str, object]) -> None:
    from rich.console import Console

    from gateway.cli.sale.summary import show

    show(told, Console(), VIOLATIONS_SHOWN_MAX)


def _make_folder(folder: Path | None) -> None:
    """The folder is there before anything is loaded: a sale without its report would have to be repeated."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise fail(f"cannot write to {folder}: {exc.strerror or exc}") from exc


def _write(told: dict[str, object], folder: Path, run: str) -> None:
    import orjson

    from gateway.cli.sale.page import page

    try:
        (folder / f"flashsale-{run}.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
        (folder / f"flashsale-{run}.html").write_text(page(told), encoding="utf-8")
    except OSError as exc:
        raise fail(f"cannot write to {folder}: {exc.strerror or exc}") from exc
    typer.echo(f"report: {folder / f'flashsale-{run}.html'}")
