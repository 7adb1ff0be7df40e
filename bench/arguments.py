"""The command line of `python -m bench`."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from typing import Literal

from gateway.embedded.binaries import PostgresSource, RedisSource

#: The name by which `--only` means every row that takes minutes.
LONG = "long"
GeneratorName = Literal["wrk", "own"]

# A median of fewer rounds moves with one bad round; results of such a run are shown but not kept.
ROUNDS_TO_KEEP_MIN = 5
ROUNDS_MAX = 100
SECONDS_MAX = 600.0


@dataclass(frozen=True)
class Arguments:
    """What to measure, for how long, with which servers."""

    only: tuple[str, ...]
    rounds: int
    seconds: float
    is_quick: bool
    redis: RedisSource | None
    postgres: PostgresSource | None
    generator: GeneratorName


def parse(words: list[str], rows: list[str], long: list[str]) -> Arguments:
    """The arguments, checked; ends the program with a sentence where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway against references.")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help=f"rows: {', '.join(rows)}; {', '.join(long)} take minutes and run only when they are named, or by {LONG}",
    )
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds of each row (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a round (default 4)")
    parser.add_argument(
        "--quick", action="store_true", help="2 rounds of 1 s, for development; nothing is judged or kept"
    )
    parser.add_argument("--redis", choices=["path", "wheel"], help="default: a server on PATH, else the wheel")
    parser.add_argument("--postgres", choices=["debian", "wheel"], help="default: Debian's, else the wheel")
    parser.add_argument("--generator", choices=["wrk", "own"], help="default: wrk where it is installed, else our own")
    given = parser.parse_args(words)
    only = tuple(name for names in given.only for name in names.split(",") if name)
    unknown = [name for name in only if name not in {*rows, LONG}]
    if unknown:
        parser.error(
            f"no such row: {', '.join(unknown)}; there are {', '.join(rows)}, and {LONG} for {', '.join(long)}"
        )
    if not 1 <= given.rounds <= ROUNDS_MAX:
        parser.error(f"--rounds must be 1 to {ROUNDS_MAX}")
    if not 0.2 <= given.seconds <= SECONDS_MAX:
        parser.error(f"--seconds must be 0.2 to {SECONDS_MAX:.0f}")
    has_wrk = shutil.which("wrk") is not None
    if given.generator == "wrk" and not has_wrk:
        parser.error("wrk is not on PATH: apt-get install wrk, or leave --generator out")
    return Arguments(
        only=only,
        rounds=2 if given.quick else given.rounds,
        seconds=1.0 if given.quick else given.seconds,
        is_quick=given.quick,
        redis=given.redis,
        postgres=given.postgres,
        generator=given.generator or ("wrk" if has_wrk else "own"),
    )
