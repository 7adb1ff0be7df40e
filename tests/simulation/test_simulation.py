"""Two thousand runs of the whole deployment in virtual time, each with other traffic, delays and faults: every law holds in each."""

from __future__ import annotations

import os
import random
from typing import Final

import pytest

from tests.simulation.regressions import REGRESSIONS
from tests.simulation.world import run_seed

#: The first seed of all: the same runs again. Without it each run of the tests has seeds of its own.
BASE_VARIABLE: Final = "SIMULATION_SEED"
#: The seeds of every run, so that `make test` says the same twice; SIMULATION_SEED=fresh looks where nobody has looked yet.
BASE: Final = "5000000"
FRESH: Final = "fresh"
COUNT_VARIABLE: Final = "SIMULATION_SEEDS"
CHUNKS: Final = 20


def seeds_of(chunk: int) -> range:
    """The seeds of one chunk."""
    count = int(os.environ.get(COUNT_VARIABLE, "1200")) // CHUNKS
    base = os.environ.get(BASE_VARIABLE)
    first = random.SystemRandom().randrange(10**9) if base == FRESH else int(base or BASE) + chunk * count
    return range(first, first + count)


@pytest.mark.timeout(900)  # a hundred runs are ten seconds of a processor that may have much else to do
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_any_faults_in_any_order_keep_the_laws(chunk: int) -> None:
    """Gateways, servers and the database break at random moments under traffic with retries: the checker finds nothing wrong."""
    seeds = seeds_of(chunk)
    print(f"seeds {seeds.start} to {seeds.stop - 1}")
    done = events = faults = 0
    for seed in seeds:
        outcome = run_seed(str(seed))
        assert not outcome.violations, outcome.story()
        done += outcome.counts["done"]
        events += outcome.counts["events"]
        faults += len(outcome.faults)
    # Runs in which hardly anything happens prove nothing.
    assert min(done / 30, events / 20, faults) >= len(seeds), (done, events, faults)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_seed_that_failed_once_keeps_the_laws(seed: str) -> None:
    """What a seed found is mended."""
    outcome = run_seed(seed)

    assert not outcome.violations, f"{REGRESSIONS[seed]}\n{outcome.story()}"
