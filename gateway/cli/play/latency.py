"""How long requests took: every one is kept, as eight bytes, so that percentiles are exact."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

OPERATIONS = ("reserve", "confirm", "adjust")


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of one operation, in milliseconds; each is a latency that was really measured (nearest rank)."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Latencies:
    """The latencies of a run by operation."""

    def __init__(self) -> None:
        self._seconds: dict[str, array[float]] = {}

    def add(self, operation: str, seconds: float) -> None:
        """One more request, from its intended start to its final answer, repetitions included."""
        self._seconds.setdefault(operation, array("d")).append(seconds)

    @property
    def count(self) -> int:
        """Requests that were answered."""
        return sum(len(found) for found in self._seconds.values())

    def percentiles(self) -> dict[str, Percentiles]:
        """By operation, only those that happened."""
        return {name: _percentiles(sorted(self._seconds[name])) for name in OPERATIONS if name in self._seconds}


def _percentiles(ordered: list[float]) -> Percentiles:
    def rank_ms(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1_000, 3)

    return Percentiles(len(ordered), rank_ms(0.50), rank_ms(0.95), rank_ms(0.99), rank_ms(1.0))
