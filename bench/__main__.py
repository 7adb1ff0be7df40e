"""The program: `python -m bench [--only NAME] [--rounds 5] [--seconds 4] [--quick]`.

Prints the report on standard output and keeps it: `bench/results/<date>.json`, and `bench/RESULTS.md` when
all rows but the long ones were measured, `bench/RESULTS-LONG.md` when exactly the long ones were (`--only long`).
A run with wrong counts keeps nothing. Exit status 0; 1 when a count was wrong or a server failed; 3 when a wanted
ratio or limit was missed; 130 after Ctrl-C.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from bench.arguments import LONG, ROUNDS_TO_KEEP_MIN, Arguments, parse
from bench.contention import told_contention
from bench.failure import BenchFailure
from bench.load import CONNECTIONS
from bench.machine import describe_machine, describe_versions
from bench.processors import leave_room
from bench.quiet import FOREIGN_SHARE_MAX
from bench.report import Run, document, markdown
from bench.rounds import Series, play_rounds, say_to_terminal
from bench.row import FigureRow, RateRow, Row
from bench.rows import ROWS
from bench.stage import Stage
from gateway.embedded.errors import EmbeddedError

HERE = Path(__file__).resolve().parent
WRONG, MISSED, INTERRUPTED = 1, 3, 130


def chosen_rows(only: tuple[str, ...]) -> list[type[Row]]:
    """The rows that were asked for, and those they are compared with; all but the long ones where none was named."""
    names = set(only or (name for name, row in ROWS.items() if row.by_default))
    if LONG in names:
        names = names - {LONG} | set(long_rows())
    while True:
        rows = [row for name, row in ROWS.items() if name in names]
        references = {one.row for row in rows if issubclass(row, RateRow) for one in row.references}
        if references <= names:
            return rows
        names |= references


def long_rows() -> list[str]:
    """The rows that take minutes each."""
    return [name for name, row in ROWS.items() if not row.by_default]


def measure(arguments: Arguments, words: list[str]) -> Run:
    """The rows were measured, and everything that was started for it has ended."""
    kinds = chosen_rows(arguments.only)
    has_gateway = any(kind.needs_gateway for kind in kinds)
    has_postgres = any(kind.needs_postgres for kind in kinds)
    machine = describe_machine()
    contention = told_contention()
    with Stage(arguments, has_gateway=has_gateway) as stage:
        rows = [kind(stage) for kind in kinds]
        versions = describe_versions(stage, has_gateway=has_gateway, has_postgres=has_postgres)
        for facts in (machine, versions):
            for name, fact in facts.items():
                say_to_terminal(f"{name}: {fact}")
        rate_rows = [row for row in rows if isinstance(row, RateRow)]
        series = play_rounds(rate_rows, arguments.rounds, arguments.seconds, say_to_terminal, stage.renew)
        problems = [problem for one in series.values() for problem in one.problems]
        if any(row.needs_gateway for row in rate_rows):
            say_to_terminal("checking the gateway's books")
            problems += stage.gateway.client.violations()
        figures = []
        for row in rows:
            if isinstance(row, FigureRow):
                say_to_terminal(f"measuring {row.name}")
                figures += row.measure()
    machine["worker's processor beside a busy one"] = f"{contention}, at the end {told_contention()}"
    return Run(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        command=shlex.join(["python", "-m", "bench", *words]),
        settings={
            "rounds": f"{arguments.rounds} of {arguments.seconds:g} s, {CONNECTIONS} connections",
            "load generator": stage.generator.name,
            "disturbed rounds": told_disturbed(series),
        },
        machine=machine,
        versions=versions,
        series=series,
        figures=figures,
        problems=problems,
        is_judged=not arguments.is_quick,
        left_out=[] if arguments.only else long_rows(),
    )


def told_disturbed(series: dict[str, Series]) -> str:
    """How many rounds others disturbed, of how many, in words."""
    counts = [one.disturbed for one in series.values()]
    known = [count for count in counts if count is not None]
    rounds = sum(len(one.samples) for one in series.values())
    if len(known) < len(counts):
        return "unknown"
    return f"{sum(known)} of {rounds} (others used over {FOREIGN_SHARE_MAX:.0%} of the machine)"


def keep(run: Run, only: tuple[str, ...]) -> None:
    """The run is in `bench/results/`, and as the table in `bench/RESULTS.md` where it has a whole group of rows."""
    name = "-".join([run.date, *only])
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.json").write_text(json.dumps(document(run), indent=1, ensure_ascii=False) + "\n")
    if only in ((), (LONG,)):
        (HERE / ("RESULTS-LONG.md" if only else "RESULTS.md")).write_text(markdown(run))


def main(words: list[str]) -> int:
    """The report is printed, and kept where it may be; returns the exit status."""
    arguments = parse(words, list(ROWS), long_rows())
    # Also where they arrive ignored (a job in the background): without them the servers would be left to
    # their leash.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    leave_room()
    try:
        run = measure(arguments, words)
    except (BenchFailure, EmbeddedError) as exc:
        say_to_terminal(f"no result: {exc}")
        return WRONG
    except KeyboardInterrupt:
        say_to_terminal("interrupted; everything that was started has ended")
        return INTERRUPTED
    print(markdown(run))
    if run.problems:
        return WRONG
    if arguments.rounds >= ROUNDS_TO_KEEP_MIN and not arguments.is_quick:
        keep(run, arguments.only)
    return MISSED if run.missed else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
