"""`gateway import`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal, cast

import typer

from gateway.cli.options import DEFAULT_URL, EXIT_FAILED, EXIT_NO, KeyOption, ShopOption, UrlOption, fail

if TYPE_CHECKING:
    from gateway.cli.records import Format
    from gateway.cli.upload import Imported, Upload

PATIENCE_SECONDS = 300.0
REJECTED_SHOWN_MAX = 100


def import_stock(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Stock as CSV or NDJSON; - reads standard input.")],
    *,
    url: UrlOption = DEFAULT_URL,
    source: Annotated[str, typer.Option("--source", help="Who says so: sequences are counted per source.")] = "import",
    sequence: Annotated[
        int,
        typer.Option(
            "--sequence",
            min=0,
            max=2**53 - 1,
            help="Number of this count; one below the source's last is ignored. 0: the time in ms.",
        ),
    ] = 0,
    shop: ShopOption = "main",
    key: KeyOption = "",
    form: Annotated[
        Literal["auto", "csv", "ndjson"],
        typer.Option("--format", help="auto: by the name of FILE, else csv."),
    ] = "auto",
) -> None:
    """Send a file of stock levels to a running gateway: columns sku, location, on_hand[, safety_stock,
    sequence].

    Bad rows are left out and told with their line in FILE; the others stand. Status 0: every row was taken;
    1: some were rejected or stale; 2: the import could not be finished, and can be repeated with the same --sequence.
    """
    import time

    number = sequence or time.time_ns() // 1_000_000
    with ExitStack() as stack:
        try:
            stream = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        except OSError as exc:
            raise fail(f"cannot read {file}: {exc.strerror or exc}") from exc

        async def send(imported: Imported) -> None:
            from gateway.cli.remote import connect
            from gateway.cli.upload import Upload

            async with connect(url, shop, key=key, patience_seconds=PATIENCE_SECONDS) as remote:
                await remote.probe()
                upload = Upload(remote, _form(file, form), source, number, imported=imported)
                await _with_progress(upload, stream, _size(file))

        raise typer.Exit(_import(send, source, number))


def _form(file: str, form: str) -> Format:
    if form == "auto":
        return "ndjson" if Path(file).suffix.lower() in (".ndjson", ".jsonl") else "csv"
    return cast("Format", form)


def _size(file: str) -> int | None:
    """The file's size in bytes, None where it has none: standard input, a pipe."""
    return Path(file).stat().st_size if file != "-" and Path(file).is_file() else None


def _import(send: Callable[[Imported], Coroutine[None, None, None]], source: str, sequence: int) -> int:
    """The import ran and was told; returns the exit status."""
    import asyncio

    from gateway.cli.answer import RemoteFailed
    from gateway.cli.records import FileUnreadable
    from gateway.cli.upload import Imported

    imported = Imported()
    failure = ""
    try:
        asyncio.run(send(imported))
    except (RemoteFailed, FileUnreadable, OSError) as exc:
        failure = str(exc)
    _tell(imported, source, sequence)
    if failure:
        again = f"--source {source} --sequence {sequence}"
        typer.echo(f"the import was not finished: {failure}", err=True)
        typer.echo(f"repeat it with {again}: what was taken already stays as it is", err=True)
        return EXIT_FAILED
    return EXIT_NO if imported.rejected_count or imported.stale else 0


async def _with_progress(upload: Upload, stream: BinaryIO, size: int | None) -> None:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("import"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("import", total=size)
        upload.advance = lambda done_bytes: progress.update(task, completed=done_bytes)
        await upload.run(stream)


def _tell(imported: Imported, source: str, sequence: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table("applied", "unchanged", "stale", "rejected", title=f"source {source}, sequence {sequence}")
    numbers = (imported.applied, imported.unchanged, imported.stale, imported.rejected_count)
    table.add_row(*(f"{number:,}" for number in numbers))
    console.print(table)
    if not imported.rejected:
        return
    bad = Table("line", "why it was rejected")
    for line, reason in imported.rejected[:REJECTED_SHOWN_MAX]:
        # As Text: a row may hold brackets that rich would take for its own markup.
        bad.add_row(str(line), Text(reason))
    console.print(bad)
    if imported.rejected_count > REJECTED_SHOWN_MAX:
        console.print(f"and {imported.rejected_count - min(REJECTED_SHOWN_MAX, len(imported.rejected)):,} more")
