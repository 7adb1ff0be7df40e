"""`gateway check --deep`: the conservation check from outside, by the gateway that runs or, where none does, by its store.

It is never the gateway: it opens no shard, starts no server, takes no lock and writes nothing. (SQLite keeps an empty `-wal` and
its `-shm` beside a file that is being read; they are gone afterwards where they were not there before.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.cli.options import EXIT_FAILED, EXIT_NO, fail

if TYPE_CHECKING:
    from gateway.settings import Settings

#: How long a gateway may look: it reads its whole log and every reservation.
SECONDS_MAX = 3600.0


def check_deep(config: Path | None, url: str, key: str) -> int:
    """Every violation is printed, then a summary. Returns 0 when there are none, 1 when there are, 2 when it could not be told.

    With `url` that gateway is asked. Else the one at the configured address; and where none answers, what needs no Redis is checked
    in the durable store, and what was not checked is told.
    """
    from gateway.app.refusal import StartRefused, judge
    from gateway.settings import SettingsInvalid, load

    try:
        settings = load(config)
        judge(settings)
    except (SettingsInvalid, StartRefused, FileNotFoundError) as exc:
        raise fail(str(exc)) from exc
    address = url or address_of(settings)
    status = asyncio.run(_ask(address, key or settings.bootstrap_key.get_secret_value(), must_answer=bool(url)))
    if status is None:
        told = f"no gateway answers at {address}" if address else "port is 0, so no gateway can be found"
        typer.echo(f"{told}: the durable store is read instead")
        status = asyncio.run(_read(settings))
    return status


def address_of(settings: Settings) -> str:
    """Where a gateway with these settings is reached from this machine; empty when its port is any that was free."""
    if not settings.port:
        return ""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - asked, not listened on
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


async def _ask(address: str, key: str, *, must_answer: bool) -> int | None:
    """What the gateway at this address finds; None when there is none and need not be."""
    from gateway.cli.answer import GaveUp, RemoteFailed
    from gateway.cli.remote import connect

    if not address:
        return None
    try:
        async with connect(address, "main", key=key) as remote:
            try:
                await remote.glance("/healthz")
            except GaveUp:
                if must_answer:
                    raise
                return None
            answer = await remote.glance("/v1/admin/conservation", seconds_max=SECONDS_MAX)
    except RemoteFailed as exc:
        typer.echo(f"not checked: {exc}", err=True)
        return EXIT_FAILED
    violations, checked = answer.body.get("violations"), answer.body.get("checked")
    if not answer.is_success or not isinstance(violations, list) or not isinstance(checked, dict):
        typer.echo(f"not checked: {answer.explain() or 'the answer lists no violations'}", err=True)
        return EXIT_FAILED
    typer.echo(f"asked the gateway at {address}")
    return _tell(checked, violations)


async def _read(settings: Settings) -> int:
    """What the durable store itself tells."""
    from gateway.domain.errors import GatewayError
    from gateway.durable.ledger import LedgerError
    from gateway.durable.stores import ledger_for
    from gateway.service.conservation import audit_durable

    durable = settings.durable
    try:
        ledger = ledger_for(
            settings.database_url.get_secret_value() or _embedded_url(settings),
            pool_size=1,
            pool_timeout_ms=durable.pool_timeout_ms,
            statement_timeout_ms=durable.statement_timeout_ms,
            is_read_only=True,
        )
        try:
            await ledger.open()
            await ledger.verify_schema()
            found = [await audit_durable(ledger, shard) for shard in range(settings.shards)]
        finally:
            await ledger.close()
    except (LedgerError, GatewayError, ValueError, OSError) as exc:
        typer.echo(f"not checked: {exc}", err=True)
        return EXIT_FAILED
    status = 0
    for answer, checkpoint in found:
        typer.echo(
            f"not checked: Redis with its levels, holds and deadlines, and what its log has after seq {checkpoint}"
        )
        status = max(status, _tell(answer.checked, answer.violations))
    return status


def _embedded_url(settings: Settings) -> str:
    from gateway.embedded import DataFolder

    return DataFolder(settings.data_dir).database_url


def _tell(checked: Mapping[str, object], violations: Sequence[Mapping[str, object]]) -> int:
    for one in violations:
        told = f"invariant {one.get('invariant')}, {one.get('kind')}, {one.get('where')}: {one.get('detail')}"
        typer.echo(f"violation: {told}")
    typer.echo("checked: " + ", ".join(f"{name} {count}" for name, count in checked.items()))
    typer.echo(f"verdict: {len(violations)} violations")
    return EXIT_NO if violations else 0
