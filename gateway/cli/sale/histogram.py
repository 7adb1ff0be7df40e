"""Durations in fixed logarithmic buckets: any number of them in the same small memory."""

from __future__ import annotations

import math

#: Buckets of one doubling: a bucket is 2.2 % wide, so a percentile is at most that much too high.
PER_DOUBLING = 32
SECONDS_MIN = 1e-5
#: 2^25 times the least: 335 s. What is longer lies in the last bucket, and the maximum is exact anyway.
BUCKETS = 25 * PER_DOUBLING
_SCALE = 1 / SECONDS_MIN


class Histogram:
    """Durations in seconds. Only buckets that were hit take memory, at most BUCKETS."""

    __slots__ = ("_buckets", "count", "max_seconds", "sum_seconds")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.sum_seconds = 0.0
        self.max_seconds = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        ratio = seconds * _SCALE
        index = 0 if ratio <= 1 else min(int(math.log2(ratio) * PER_DOUBLING) + 1, BUCKETS)
        self._buckets[index] = self._buckets.get(index, 0) + 1
        self.count += 1
        self.sum_seconds += seconds
        self.max_seconds = max(self.max_seconds, seconds)

    def merge(self, other: Histogram) -> None:
        """All of the other's are in this one, too."""
        for index, count in other._buckets.items():
            self._buckets[index] = self._buckets.get(index, 0) + count
        self.count += other.count
        self.sum_seconds += other.sum_seconds
        self.max_seconds = max(self.max_seconds, other.max_seconds)

    def quantile_seconds(self, share: float) -> float:
        """The upper end of the bucket in which the nearest rank lies, never above the maximum; 0.0 without any."""
        rank, seen = max(1, math.ceil(share * self.count)), 0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if seen >= rank:
                return self.max_seconds if index == BUCKETS else min(_upper_seconds(index), self.max_seconds)
        return 0.0

    def as_json(self) -> dict[str, float]:
        """`count`, `mean_ms`, `p50_ms`, `p90_ms`, `p95_ms`, `p99_ms`, `p999_ms`, `max_ms`."""
        told: dict[str, float] = {"count": self.count}
        told["mean_ms"] = to_ms(self.sum_seconds / self.count if self.count else 0.0)
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)):
            told[f"{name}_ms"] = to_ms(self.quantile_seconds(share))
        return told | {"max_ms": to_ms(self.max_seconds)}


def to_ms(seconds: float) -> float:
    """Milliseconds with as many digits as a bucket knows."""
    return round(seconds * 1_000, 2)


def _upper_seconds(index: int) -> float:
    return float(SECONDS_MIN * 2.0 ** (index / PER_DOUBLING))
