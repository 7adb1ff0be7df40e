"""`python -m tests.simulation --seed N [--trace]`: one run again; `--seeds A-B`: many, and which of them failed."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.world import Outcome, run_seed


def main() -> int:
    """The verdict of the runs; 1 where a law was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", help="the seed of one run")
    parser.add_argument("--seeds", help="many runs, such as 0-999")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    parser.add_argument("--digests", action="store_true", help="print the digest of each run's trace")
    parser.add_argument("--first", action="store_true", help="stop at the first seed that fails")
    arguments = parser.parse_args()
    seeds = [arguments.seed]
    if arguments.seeds:
        first, last = map(int, arguments.seeds.split("-"))
        seeds = [str(seed) for seed in range(first, last + 1)]
    if None in seeds:
        parser.error("name a --seed, or --seeds")
    began_s, run, failed, sums = time.process_time(), 0, list[Outcome](), Counter[str]()
    for seed in seeds:
        outcome = run_seed(str(seed))
        sums.update(outcome.counts)
        run += 1
        if len(seeds) == 1:
            if arguments.trace:
                print(outcome.trace.text())
            print(outcome.counts)
        if arguments.digests or len(seeds) == 1:
            print(f"seed {seed} has the digest {outcome.trace.digest()}")
        if outcome.violations:
            failed.append(outcome)
            print(outcome, flush=True)
            if arguments.first:
                break
        elif len(seeds) == 1:
            print(outcome)
    spent_s = time.process_time() - began_s
    print(f"{run} seeds, {len(failed)} failed, {spent_s / run:.3f} s of processor each; {dict(sums)}")
    print("failed:", " ".join(one.seed for one in failed) or "none")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
