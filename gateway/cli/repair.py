"""`gateway repair`: what a repair would do, and the repair itself, by the gateway that runs or, where none does, on its stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateway.cli.deep import SECONDS_MAX, address_of
from gateway.cli.options import EXIT_FAILED, EXIT_NO, ConfigOption, KeyOption, fail
from gateway.domain.counted import counted

if TYPE_CHECKING:
    from gateway.domain.repair import Adopt
    from gateway.settings import Settings

PATH = "/v1/admin/repair"

#: The body of a call of `PATH`, and what it is answered with.
Ask = Callable[[Mapping[str, Any]], dict[str, Any]]


class CannotTell(Exception):
    """Nothing could be planned or done; the message says why, in one line."""


def repair(
    config: ConfigOption = None,
    url: Annotated[str, typer.Option("--url", help="Ask the gateway at this address.")] = "",
    key: KeyOption = "",
    apply: Annotated[bool, typer.Option("--apply/--plan", help="Do what the plan says, or only show it.")] = False,
    adopt_redis: Annotated[
        bool, typer.Option("--adopt-redis", help="Redis is ahead of the database, and what it has is the truth.")
    ] = False,
    adopt_database: Annotated[
        bool, typer.Option("--adopt-database", help="Redis is ahead of the database, and is dropped.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the log. Needed to apply.")] = "",
    plan_id: Annotated[str, typer.Option("--plan-id", help="Apply this plan, and ask nothing.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Apply what is planned now, and ask nothing.")] = False,
) -> None:
    """Show what is wrong with the books and what would be done about it; with --apply, do it.

    Ends with 0 when there is nothing to do or all was done, 1 when something is left to do, 2 when it could not be told.
    """
    from gateway.app.refusal import StartRefused, judge
    from gateway.settings import SettingsInvalid, load

    if adopt_redis and adopt_database:
        raise fail("--adopt-redis and --adopt-database exclude each other: one of them is the truth")
    if apply and not reason:
        raise fail("--apply needs a --reason: it is told in the log")
    try:
        settings = load(config)
        judge(settings)
    except (SettingsInvalid, StartRefused, FileNotFoundError) as exc:
        raise fail(str(exc)) from exc
    adopt: Adopt | None = "redis" if adopt_redis else "database" if adopt_database else None
    order = _Order(apply, adopt, reason, plan_id, yes)
    try:
        raise typer.Exit(_carry_out(order, _asking(settings, url, key)))
    except (CannotTell, StartRefused) as exc:
        typer.echo(f"not repaired: {exc}", err=True)
        raise typer.Exit(EXIT_FAILED) from exc


@dataclass(frozen=True, slots=True)
class _Order:
    """What the operator wants."""

    is_apply: bool
    adopt: Literal["redis", "database"] | None
    reason: str
    plan_id: str
    is_sure: bool


def _carry_out(order: _Order, ask: Ask) -> int:
    plan = ask({"repair": "plan", "adopt": order.adopt})
    _tell(plan)
    if not order.is_apply or not plan["steps"]:
        return EXIT_NO if plan["steps"] or plan["for_human"] else 0
    if order.plan_id and order.plan_id != plan["plan_id"]:
        typer.echo(f"nothing was done: {order.plan_id} is not the plan any more")
        return EXIT_NO
    if not (order.plan_id or order.is_sure or typer.confirm("do it?", default=False)):
        typer.echo("nothing was done")
        return EXIT_NO
    chosen = {"repair": "apply", "adopt": order.adopt, "plan_id": plan["plan_id"], "reason": order.reason}
    done = ask(chosen)
    if not done["applied"]:
        typer.echo("nothing was done: the shard has changed, and this is the plan now")
        _tell(done)
        return EXIT_NO
    typer.echo(f"done: {counted(len(done['steps']), 'step')}; the shard is open under a new epoch")
    return EXIT_NO if done["for_human"] else 0


def _tell(plan: Mapping[str, Any]) -> None:
    """The plan, a line per step and per task."""
    state, reason = plan["state"], plan["halted_reason"]
    # A repair that was killed leaves a shard that is recovering, and still has the reason.
    why = "" if not reason else f": {reason}" if state == "halted" else f", halted: {reason}"
    typer.echo(f"shard {plan['shard']} is {state}{why}")
    for number, step in enumerate(plan["steps"], 1):
        typer.echo(f"{number}. {step['kind']} {step['where']}: {step['change']} ({step['reason']})")
    for task in plan["for_human"]:
        typer.echo(f"for a human: {task['kind']} {task['where']}: {task['detail']}")
        typer.echo(f"   do: {task['advice']}")
    typer.echo(f"plan {plan['plan_id']}: {counted(len(plan['steps']), 'step')}, {len(plan['for_human'])} for a human")


def _asking(settings: Settings, url: str, key: str) -> Ask:
    """Who is asked: the gateway at the address, or its stores when none answers there and none was named."""
    address = url or address_of(settings)
    secret = key or settings.bootstrap_key.get_secret_value()
    if address and asyncio.run(_answers(address, must_answer=bool(url))):
        typer.echo(f"asked the gateway at {address}")
        return lambda body: asyncio.run(_ask(address, secret, body))
    told = f"no gateway answers at {address}" if address else "port is 0, so no gateway can be found"
    typer.echo(f"{told}: its stores are opened here, as it would open them")
    return lambda body: _at_the_stores(settings, body)


async def _answers(address: str, *, must_answer: bool) -> bool:
    from gateway.cli.answer import GaveUp, RemoteFailed
    from gateway.cli.remote import connect

    try:
        async with connect(address, "main") as remote:
            await remote.glance("/healthz")
    except GaveUp as exc:
        if must_answer:
            raise CannotTell(str(exc)) from exc
        return False
    except RemoteFailed as exc:
        raise CannotTell(str(exc)) from exc
    return True


async def _ask(address: str, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
    from gateway.cli.answer import RemoteFailed
    from gateway.cli.remote import connect

    try:
        async with connect(address, "main", key=key) as remote:
            answer = await remote.demand(PATH, body, seconds_max=SECONDS_MAX)
            return answer.required("repair")
    except RemoteFailed as exc:
        raise CannotTell(str(exc)) from exc


def _at_the_stores(settings: Settings, body: Mapping[str, Any]) -> dict[str, Any]:
    from gateway.app.bench import at_the_stores
    from gateway.domain.errors import GatewayError
    from gateway.service.operations import OperationsService

    async def work(operations: OperationsService) -> dict[str, Any]:
        if body["repair"] == "plan":
            return {"applied": False, **(await operations.plan_repair(body["adopt"])).described()}
        done = await operations.repair(body["plan_id"], body["adopt"], body["reason"], "operator")
        return {"applied": done.is_applied, **done.plan.described()}

    try:
        return at_the_stores(settings, work)
    except GatewayError as exc:
        raise CannotTell(exc.detail) from exc
