"""`gateway check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import EXIT_NO, ConfigOption, KeyOption

if TYPE_CHECKING:
    from gateway.cli.answer import Answer
    from gateway.settings import Settings

VIOLATIONS_SHOWN_MAX = 20


def check(
    config: ConfigOption = None,
    url: Annotated[str, typer.Option("--url", help="Ask the running gateway at this address instead.")] = "",
    key: KeyOption = "",
    deep: Annotated[
        bool, typer.Option("--deep", help="Check the books: every level, event, reservation and hold. Writes nothing.")
    ] = False,
) -> None:
    """Say whether the configuration is valid, and print it; with --url, whether a running gateway is well.

    With --deep: whether the books add up, asked of the running gateway or, where none answers, read from its durable store. Ends
    with 0 when nothing is wrong, 1 with violations, 2 when it could not be told.
    """
    if deep:
        from gateway.cli.deep import check_deep

        raise typer.Exit(check_deep(config, url, key))
    if url:
        raise typer.Exit(_check_gateway(url, key))

    from gateway.app.refusal import StartRefused, judge
    from gateway.settings import SettingsInvalid, load

    try:
        settings = load(config)
        judge(settings)
    except (SettingsInvalid, StartRefused, FileNotFoundError) as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(EXIT_NO) from exc
    for line in in_force(settings):
        typer.echo(line)


def in_force(settings: Settings) -> list[str]:
    """Each key with its value and where it came from, one per line; secrets are masked."""
    from gateway.settings import keys, redacted, toml_name

    lines = []
    for path, key in keys(frozenset(settings.tiers)).items():
        value: Any = settings
        for name in path:
            value = value[name] if isinstance(value, dict) else getattr(value, name)
        if key.is_secret:
            plain = value.get_secret_value()
            shown = f'"{redacted(plain)}"'
        else:
            shown = _toml(value)
        lines.append(f"{toml_name(path)} = {shown}  # {settings.origin(path).place}")
    return lines


def _toml(value: object) -> str:
    import json

    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _check_gateway(url: str, key: str) -> int:
    import asyncio

    from gateway.cli.answer import RemoteFailed

    try:
        readiness, conservation = asyncio.run(_ask(url, key))
    except RemoteFailed as exc:
        typer.echo(f"not well: {exc}", err=True)
        return EXIT_NO
    is_ready = _tell_readiness(readiness)
    is_conserved = _tell_conservation(conservation)
    typer.echo("verdict: well" if is_ready and is_conserved else "verdict: not well")
    return 0 if is_ready and is_conserved else EXIT_NO


async def _ask(url: str, key: str) -> tuple[Answer, Answer]:
    from gateway.cli.remote import connect

    async with connect(url, "main", key=key) as remote:
        return await remote.glance("/readyz"), await remote.glance("/v1/admin/conservation")


def _tell_readiness(answer: Answer) -> bool:
    status = answer.body.get("status")
    is_ready = answer.is_success and status == "ready"
    typer.echo(f"readiness: {status or answer.explain()}")
    checks = answer.body.get("checks")
    for name, found in (checks if isinstance(checks, dict) else {}).items():
        typer.echo(f"  {name}: {_words(found)}")
    return is_ready


def _tell_conservation(answer: Answer) -> bool:
    violations = answer.body.get("violations")
    if not answer.is_success or not isinstance(violations, list):
        typer.echo(f"conservation: not known: {answer.explain() or 'the answer lists no violations'}")
        return False
    typer.echo(f"conservation: {len(violations)} violations; checked {_words(answer.body.get('checked'))}")
    for violation in violations[:VIOLATIONS_SHOWN_MAX]:
        typer.echo(f"  {_words(violation)}")
    if len(violations) > VIOLATIONS_SHOWN_MAX:
        typer.echo(f"  and {len(violations) - VIOLATIONS_SHOWN_MAX} more")
    return not violations


def _words(found: object) -> str:
    """A JSON value as a person reads it: `ok: true, seq: 12`."""
    if isinstance(found, dict):
        return ", ".join(f"{name}: {_words(value)}" for name, value in found.items())
    if isinstance(found, list):
        return "[" + "; ".join(_words(value) for value in found) + "]"
    if isinstance(found, bool):
        return "yes" if found else "no"
    return str(found)
