"""`python -m tests.planted [--only words]`: each planted bug alone in a copy of the checkout, and whether its test turns red.

Prints the matrix; ends with 1 where a bug was not caught, or for another reason than its own.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.planted.bug import Bug
from tests.planted.bugs import BUGS

ROOT: Final = Path(__file__).resolve().parents[2]
LEFT_BEHIND: Final = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", "data", "dist", "build", ".hypothesis"
)


@dataclass(frozen=True)
class Verdict:
    """What came of one bug. `seed` is the first of the simulation that caught it."""

    bug: Bug
    is_caught: bool
    told: str
    seconds: float
    output: str

    def __str__(self) -> str:
        return f"| {self.bug.name} | {' '.join(self.bug.caught_by)} | {self.told} | {self.seconds:.0f} s |"


def judge(bug: Bug, copy: Path, seconds_max: int) -> Verdict:
    """The bug's test has run in the copy, with the bug in it; afterwards the copy is clean again."""
    began_s = time.monotonic()
    bug.plant(copy)
    try:
        code, output = _run(_command(bug), copy, seconds_max)
    finally:
        bug.remove(copy, ROOT)
    seconds = time.monotonic() - began_s
    if code is None:
        return Verdict(bug, False, f"no end after {seconds_max} s", seconds, output)
    if code == 0:
        return Verdict(bug, False, "NOT CAUGHT", seconds, output)
    reason = re.search(bug.reason, output)
    if reason is None:
        return Verdict(bug, False, f"red, but not for {bug.reason}", seconds, output)
    return Verdict(bug, True, _how(bug, output, reason[0]), seconds, output)


def _how(bug: Bug, output: str, reason: str) -> str:
    if not bug.is_simulated:
        return "caught"
    found = re.search(r"^failed: (\d+)", output, re.MULTILINE)
    seed = found[1] if found else "?"
    return f"seed {seed}, after {int(seed) + 1 if found else '?'} seeds, by {reason.strip()[:24]}"


def _command(bug: Bug) -> list[str]:
    if bug.is_simulated:
        return [sys.executable, "-m", "tests.simulation", "--first", "--seeds", f"0-{bug.seeds_max - 1}"]
    return [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *bug.caught_by]


def _run(command: list[str], copy: Path, seconds_max: int) -> tuple[int | None, str]:
    """The exit code, None after the time, and everything that was printed."""
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=seconds_max, check=False
        )
    except subprocess.TimeoutExpired as late:
        return None, str(late.output)
    return done.returncode, done.stdout + done.stderr


def main() -> int:
    """All bugs, or those whose name has the words, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted")
    parser.add_argument("--only", default="", help="words of the bug's name")
    parser.add_argument("--output", action="store_true", help="print what the test of a bug that was not caught said")
    parser.add_argument("--seconds", type=int, default=10_000, help="bound each test by so much, beside its own bound")
    arguments = parser.parse_args()
    chosen = [bug for bug in BUGS if arguments.only in bug.name]
    if not chosen:
        parser.error(f"no bug is named {arguments.only!r}")
    print("| bug | test | outcome | time |\n|---|---|---|---|")
    missed = []
    with tempfile.TemporaryDirectory(prefix="gateway-planted-") as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND, symlinks=True)
        for bug in chosen:
            verdict = judge(bug, copy, min(bug.seconds_max, arguments.seconds))
            print(verdict, flush=True)
            if not verdict.is_caught:
                missed.append(bug.name)
                if arguments.output:
                    print(verdict.output[-4000:])
    print(f"{len(chosen) - len(missed)} of {len(chosen)} caught" + (f"; not: {', '.join(missed)}" if missed else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
