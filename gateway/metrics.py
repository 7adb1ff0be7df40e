"""What the process tells Prometheus: every metric in one place, and the list that README is checked against.

No label value comes from a client: routes are templates, codes, outcomes, commands and jobs are words of
ours.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, Literal, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

# Prometheus' text format, which every scraper reads; the library's own constant follows its default format
# instead.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# The backstop of the rule above: a label that gets more values than this counts the others as "other".
LABEL_VALUES_MAX = 256
OTHER = "other"

REGISTRY = CollectorRegistry(auto_describe=True)

# One more series per counter and histogram, the time of its creation, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here


@dataclass(frozen=True, slots=True)
class Documented:
    """One metric as README lists it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    text: str


_documented: list[Documented] = []

M = TypeVar("M", Counter, Histogram)


class Bound(dict[str, M], Generic[M]):
    """The children of a metric with one label, by label value: `REFUSALS["out_of_stock"].inc()`.

    A known value costs one lookup in a dict, where `labels()` takes a lock and builds a key. At most
    `LABEL_VALUES_MAX` values get a child of their own.
    """

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric: M = metric

    def __missing__(self, value: str) -> M:
        if len(self) >= LABEL_VALUES_MAX:
            value = OTHER
        child: M = self._metric.labels(value)
        self[value] = child
        return child


def _counter(name: str, text: str, *labels: str) -> Counter:
    _documented.append(Documented(name, "counter", labels, text))
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str) -> Gauge:
    _documented.append(Documented(name, "gauge", (), text))
    return Gauge(name, text, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
    _documented.append(Documented(name, "histogram", labels, text))
    return Histogram(name, text, labels, registry=REGISTRY, buckets=buckets)


_REQUEST_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COMMAND_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.0)
_BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
_COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# The promise is less than a second, so the steps are fine below it and coarse above.
_LATENESS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 60.0)

REQUESTS = Documented(
    "gateway_requests_total", "counter", ("route", "method", "status"), "Requests answered, by status class."
)
REQUEST_SECONDS = Documented(
    "gateway_request_duration_seconds",
    "histogram",
    ("route", "method"),
    "Time from the head of a request to the end of its answer.",
)
_documented += [REQUESTS, REQUEST_SECONDS]


class _RequestCollector(Collector):
    """Tells what all routes have counted. Several applications in one process (tests) count side by side."""

    def __init__(self) -> None:
        self.routes: list[RouteMetrics] = []

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(REQUESTS.name, REQUESTS.text, labels=REQUESTS.labels)
        durations = HistogramMetricFamily(REQUEST_SECONDS.name, REQUEST_SECONDS.text, labels=REQUEST_SECONDS.labels)
        summed: dict[tuple[str, str], RouteMetrics] = {}
        for route in self.routes:
            own = (route.route, route.method)
            summed[own] = route if own not in summed else summed[own].plus(route)
        for route in summed.values():
            route.tell(requests, durations)
        yield requests
        yield durations


_REQUEST_COLLECTOR = _RequestCollector()
REGISTRY.register(_REQUEST_COLLECTOR)

RESERVATIONS = Bound(
    _counter(
        "gateway_reservations_total",
        "Moves of reservations by outcome: held, extended, confirmed, fulfilled, released, expired.",
        "outcome",
    )
)
REFUSALS = Bound(_counter("gateway_refusals_total", "Problems answered, by their stable code.", "code"))

HOT_COMMAND_SECONDS = Bound(
    _histogram(
        "gateway_hot_command_duration_seconds",
        "Time from queueing a command for Redis to its reply.",
        _COMMAND_BUCKETS,
        "command",
    )
)
HOT_RECONNECTS = _counter("gateway_hot_reconnects_total", "Connections to Redis made anew after one was lost.")
HOT_PENDING = _gauge("gateway_hot_pending_commands", "Commands that wait for a reply of Redis.")

FLUSH_BATCH_EVENTS = _histogram(
    "gateway_flush_batch_events", "Events committed to the durable store by one transaction.", _BATCH_BUCKETS
)
FLUSH_SECONDS = _histogram("gateway_flush_duration_seconds", "Time of one transaction of the flusher.", _COMMIT_BUCKETS)
FLUSH_BACKLOG_EVENTS = _gauge(
    "gateway_flush_backlog_events", "Events in the log of Redis that the durable store does not have yet."
)
FLUSH_LAG_SECONDS = _gauge(
    "gateway_flush_checkpoint_lag_seconds",
    "Age of the oldest event that the durable store does not have yet.",
)
LEDGER_ERRORS = Bound(_counter("gateway_ledger_errors_total", "Failed operations of the durable store.", "operation"))

SHARDS_HALTED = _gauge("gateway_halted_shards", "Shards that wait for their operator: see `gateway repair`.")

CLOCK_SHIFT_SECONDS = _gauge(
    "gateway_clock_shift_seconds",
    "What jumps of Redis' clock have put it off; added to its time. 0 when it did not jump, or has come right again.",
)

EXPIRY_LATENESS_SECONDS = _histogram(
    "gateway_expiry_lateness_seconds",
    "Time from the deadline of a swept hold to the return of its units.",
    _LATENESS_BUCKETS,
)
EXPIRY_SWEPT = _counter("gateway_expiry_swept_reservations_total", "Holds returned by the sweeper.")

JOB_ERRORS = Bound(_counter("gateway_job_errors_total", "Steps of background jobs that failed.", "job"))

LOG_LINES_LOST = _counter("gateway_lost_log_lines_total", "Log lines that their stream did not take.")

METRICS: tuple[Documented, ...] = tuple(_documented)


class RouteMetrics:
    """The metrics of one route and method, counted in plain numbers and told when Prometheus asks.

    The library's own counter and histogram take a lock each: 1.2 of 45 µs of a request, measured; this takes 0.4.
    """

    __slots__ = ("_buckets", "_by_class", "_seconds_sum", "method", "route")

    def __init__(self, route: str, method: str) -> None:
        """`route` is the template (`/v1/stock/{sku}`), never a path.

        Requests that match no route share one pair of words of ours: their method is the client's.
        """
        self.route, self.method = route, method
        self._by_class = [0] * 5
        self._buckets = [0] * (len(_REQUEST_BUCKETS) + 1)
        self._seconds_sum = 0.0
        _REQUEST_COLLECTOR.routes.append(self)

    def plus(self, other: RouteMetrics) -> RouteMetrics:
        """A copy with the numbers of both."""
        both = copy(self)
        both._by_class = [mine + theirs for mine, theirs in zip(self._by_class, other._by_class, strict=True)]
        both._buckets = [mine + theirs for mine, theirs in zip(self._buckets, other._buckets, strict=True)]
        both._seconds_sum += other._seconds_sum
        return both

    def answered(self, status: int, seconds: float) -> None:
        """One request was answered with this HTTP status after this time."""
        self._by_class[status // 100 - 1] += 1
        self._buckets[bisect_left(_REQUEST_BUCKETS, seconds)] += 1
        self._seconds_sum += seconds

    def tell(self, requests: CounterMetricFamily, durations: HistogramMetricFamily) -> None:
        """The numbers so far, added to the families."""
        for first, count in enumerate(self._by_class, 1):
            requests.add_metric((self.route, self.method, f"{first}xx"), count)
        bounds = [_bound(bound) for bound in (*_REQUEST_BUCKETS, math.inf)]
        summed = zip(bounds, accumulate(self._buckets), strict=True)
        durations.add_metric((self.route, self.method), list(summed), self._seconds_sum)


def _bound(seconds: float) -> str:
    """A bucket's upper bound as Prometheus writes it."""
    return "+Inf" if math.isinf(seconds) else str(seconds)


def render() -> bytes:
    """All metrics in the text format of `CONTENT_TYPE`."""
    return generate_latest(REGISTRY)


class _Joined(Collector):
    """The series of several processes, those of one metric together as the format wants them."""

    def __init__(self, told: Iterable[tuple[str, str]]) -> None:
        self._families: dict[str, Metric] = {}
        for worker, text in told:
            for family in text_string_to_metric_families(text):
                whole = self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                whole.samples += [
                    sample._replace(labels={**sample.labels, "worker": worker}) for sample in family.samples
                ]

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()


def joined(told: Iterable[tuple[str, str]]) -> bytes:
    """The metrics of several processes, (name, what `render` gave there), each series with its process as `worker`."""
    return generate_latest(_Joined(told))
