"""One seed is one run, wherever and however often it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.world import run_seed

ROOT = Path(__file__).resolve().parents[2]
SEEDS = "40-45"


def digests(hash_seed: str) -> list[str]:
    """What a process of its own prints, run by run."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", SEEDS, "--digests"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if "has the digest" in line]
    assert len(found) == 6, done.stdout + done.stderr
    return found


def test_seed_gives_the_same_trace_in_two_processes_that_hash_otherwise() -> None:
    """Every command, reply, commit, log line and answer comes at the same virtual instant."""
    assert digests("1") == digests("4242")


@pytest.mark.parametrize("seed", ["7", "77"])
def test_seed_gives_the_same_trace_twice_in_one_process(seed: str) -> None:
    """Nothing of a run is left behind for the next; another seed is another run."""
    first = run_seed(seed).trace.digest()
    other = run_seed(f"{seed}0").trace.digest()

    assert run_seed(seed).trace.digest() == first
    assert other != first
