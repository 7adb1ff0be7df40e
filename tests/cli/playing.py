"""Runs of the replay against a fake, for tests: a plan, a small file of orders, and the command as a process
of its own.
"""

from __future__ import annotations

import asyncio
import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from gateway.cli.play.plan import Plan
from gateway.cli.play.report import Report
from gateway.cli.play.run import run
from gateway.cli.play.watch import Watch

CUT = Path(__file__).parents[1] / "data" / "online_retail_cut.csv"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"

PLAN = Plan(
    run="test",
    url="",
    shop="main",
    key="",
    speed=0.0,
    abandon=0.3,
    ttl_seconds=1,
    stock="1.0",
    seed=1,
    concurrency=16,
    processes=1,
    location="main",
    source="replay",
    patience_seconds=20.0,
    settle_seconds_max=20.0,
)


def orders_file(folder: Path, *rows: tuple[str, str, int]) -> Path:
    """A file of (invoice, sku, quantity), a minute apart."""
    path = folder / "orders.csv"
    lines = [
        f"{number},{sku},x,{quantity},2010-12-01T08:{minute:02d}:00,1.0,17850,United Kingdom"
        for minute, (number, sku, quantity) in enumerate(rows)
    ]
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


async def play(url: str, path: Path = CUT, state: Path | None = None, **changes: Any) -> Report:
    """One run by PLAN with changes, without anything on the screen."""
    console = Console(file=io.StringIO())
    plan = replace(PLAN, url=url, **changes)
    return await run(plan, path, state, lambda orders: Watch(console, len(orders.invoices)))


async def command(*words: str, given: bytes = b"", environ: dict[str, str] | None = None) -> tuple[int, str, str]:
    """(status, stdout, stderr) of `gateway` with these words."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=environ,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(given), 100)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
