"""When buyers arrive in an open loop: at intended times that no answer moves."""

from __future__ import annotations

import random
from collections.abc import Iterator

ARRIVALS = ("poisson", "even")


def intended_times(rate_per_second: float, arrivals: str, seed: int, count: int) -> Iterator[float]:
    """`count` times in seconds from the start of the sale, rising, one by one (never all in memory).

    `even`: a buyer each 1/rate, the first at 0. `poisson`: independent buyers, exponential gaps with the mean 1/rate. Each even time
    is computed from its number, so that rounding does not add up over a million of them.
    """
    if arrivals == "even":
        for number in range(count):
            yield number / rate_per_second
        return
    chance = random.Random(seed)  # noqa: S311 - a load test wants a seed, it protects nothing
    at_seconds = 0.0
    for _ in range(count):
        at_seconds += chance.expovariate(rate_per_second)
        yield at_seconds
