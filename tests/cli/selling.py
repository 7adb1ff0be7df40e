"""Flash sales against a fake, for tests: a small plan, and a run without anything on the screen."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from gateway.cli.sale.pay_delay import PayDelay
from gateway.cli.sale.plan import Plan
from gateway.cli.sale.result import Result
from gateway.cli.sale.run import run
from gateway.cli.sale.watch import Watch

PLAN = Plan(
    run="test",
    url="",
    shop="main",
    key="secret-key",
    location="main",
    skus=2,
    units=10,
    buyers=60,
    rate_per_second=0.0,
    arrivals="even",
    concurrency=4,
    abandon=0.0,
    pay_delay=PayDelay("fixed", 0.0),
    pay_delay_text="0",
    duplicates=0.0,
    bots=0.0,
    bot_tries=5,
    ttl_seconds=60,
    duration_seconds=0.0,
    connections=64,
    patience_seconds=20.0,
    settle_seconds_max=0.3,
    seed=1,
)


async def sell(url: str, **changes: Any) -> Result:
    """One sale by PLAN with changes."""
    plan = replace(PLAN, url=url, **changes)
    return await run(plan, Watch(Console(file=io.StringIO()), plan))


def kinds(result: Result) -> set[str]:
    """The kinds of the promises that were found broken."""
    return {violation.kind for violation in result.verdict.violations}


def reports(folder: Path) -> tuple[str, dict[str, Any]]:
    """The one report in the folder: the page, and what is said to machines."""
    page, told = sorted(folder.iterdir())
    assert (page.suffix, told.suffix) == (".html", ".json")
    return page.read_text(), json.loads(told.read_bytes())
