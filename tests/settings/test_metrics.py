from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from gateway import metrics

UNITS = (
    "seconds",
    "bytes",
    "events",
    "commands",
    "reservations",
    "reconnects",
    "requests",
    "refusals",
    "errors",
    "lines",
    "shards",
)


def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_metrics_list_is_what_is_exported() -> None:
    """The documented list and the page of Prometheus name the same metrics, kinds and texts."""
    exported = {
        (family.name, family.type, family.documentation)
        for family in text_string_to_metric_families(metrics.render().decode())
    }
    listed = {(m.name.removesuffix("_total"), m.kind, m.text) for m in metrics.METRICS}
    assert exported == listed
    assert len(listed) == len(metrics.METRICS)


def test_metrics_names_begin_with_gateway_and_end_with_their_unit() -> None:
    """Counters end in _total, after their unit."""
    for metric in metrics.METRICS:
        assert re.fullmatch(r"gateway_[a-z_]+", metric.name), metric.name
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert metric.name.removesuffix("_total").endswith(UNITS), metric.name
        assert metric.text.endswith("."), metric.name


def test_metrics_stand_in_the_readme() -> None:
    """Its table has a row for each one, with kind, labels and text, and none for what is gone."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    rows = {line for line in readme.splitlines() if line.startswith("| `gateway_")}
    wanted = {f"| `{m.name}` | {m.kind} | {', '.join(m.labels) or '—'} | {m.text} |" for m in metrics.METRICS}
    assert rows == wanted


def test_metrics_labels_are_words_of_ours() -> None:
    """No label could carry a sku, a shop, a customer or a key."""
    labels = {label for metric in metrics.METRICS for label in metric.labels}
    assert labels == {"route", "method", "status", "outcome", "code", "command", "operation", "job"}


def test_route_metrics_count_by_class_and_measure_time() -> None:
    """An answer is one more in its class and in the histogram of its route."""
    route = metrics.RouteMetrics("/test/{sku}", "GET")
    for status in (200, 201, 404, 503, 101):
        route.answered(status, 0.003)
    after = samples()
    labels = {("route", "/test/{sku}"), ("method", "GET")}
    counts = {
        status: after["gateway_requests_total", frozenset({*labels, ("status", status)})]
        for status in ("1xx", "2xx", "3xx", "4xx", "5xx")
    }
    assert counts == {"1xx": 1.0, "2xx": 2.0, "3xx": 0.0, "4xx": 1.0, "5xx": 1.0}
    assert after["gateway_request_duration_seconds_count", frozenset(labels)] == 5.0
    assert after["gateway_request_duration_seconds_bucket", frozenset({*labels, ("le", "0.005")})] == 5.0
    assert after["gateway_request_duration_seconds_bucket", frozenset({*labels, ("le", "0.002")})] == 0.0


def test_bound_label_is_counted_by_one_child() -> None:
    """The same word is the same child, so a count is never split."""
    metrics.REFUSALS["test_code"].inc()
    metrics.REFUSALS["test_code"].inc()
    assert metrics.REFUSALS["test_code"] is metrics.REFUSALS["test_code"]
    assert samples()["gateway_refusals_total", frozenset({("code", "test_code")})] == 2.0


def test_bound_with_too_many_label_values_counts_the_rest_together() -> None:
    """A label that a client came to control after all costs bounded memory, here and in Prometheus."""
    registry = CollectorRegistry()
    bound = metrics.Bound(Counter("gateway_test_total", "Test.", ["word"], registry=registry))
    for number in range(3 * metrics.LABEL_VALUES_MAX):
        bound[f"word{number}"].inc()
    words = {s.labels["word"]: s.value for family in registry.collect() for s in family.samples if "total" in s.name}
    assert len(words) == metrics.LABEL_VALUES_MAX + 1
    assert words["word0"] == 1.0
    assert words[metrics.OTHER] == 2.0 * metrics.LABEL_VALUES_MAX
    assert len(bound) <= metrics.LABEL_VALUES_MAX + 1


def test_render_has_no_series_of_creation_times() -> None:
    """They would nearly double the page and mean nothing to anybody."""
    metrics.RouteMetrics("/test", "GET").answered(200, 0.1)
    assert b"_created" not in metrics.render()
