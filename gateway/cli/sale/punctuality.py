"""Whether the generator kept its own schedule: if not, its figures are not the gateway's alone, and it says so."""

from __future__ import annotations

from gateway.cli.sale.figures import Figures
from gateway.cli.sale.histogram import to_ms
from gateway.cli.sale.plan import Plan

#: More than this at the 99th percentile would be seen in the percentiles of a gateway that answers in a few milliseconds.
LAG_SECONDS_MAX = 0.010


def punctuality(plan: Plan, figures: Figures) -> dict[str, object]:
    """`mode`, `rate_wanted_per_second` (null in a closed loop), `rate_offered_per_second` (buyers, until the last one came), `is_kept`,
    `words` (what to think of the figures), `send_lag` (null in a closed loop) and `loop_lag` as histograms, `queued` (requests that
    found every connection busy).

    `send_lag` is from the intended start of a buyer to the moment its first request leaves our hands; `loop_lag` is how late this
    process woke up from short sleeps: both are our own lateness and are contained in every latency.
    """
    complaints = []
    lag = figures.send_lag if plan.is_open_loop else figures.loop_lag
    if lag.quantile_seconds(0.99) > LAG_SECONDS_MAX:
        what = "requests left" if plan.is_open_loop else "the generator woke up"
        complaints.append(
            f"{what} late: 1 % more than {to_ms(lag.quantile_seconds(0.99)):,.0f} ms, the worst {to_ms(lag.max_seconds):,.0f} ms"
        )
    if figures.queued:
        complaints.append(
            f"{figures.queued:,} requests waited for one of the {plan.connections} connections (raise --connections, or the gateway "
            "does not keep up)"
        )
    words = "The generator kept its schedule: the latencies are the gateway's and the network's."
    if complaints:
        words = (
            f"The generator did not keep its own schedule: {'; '.join(complaints)}. The latencies contain that, so they are not the "
            "gateway's alone. Use a machine of its own for the generator, or a lower rate."
        )
    return {
        "mode": f"open loop, {plan.arrivals}"
        if plan.is_open_loop
        else f"closed loop, {plan.concurrency} buyers at once",
        "rate_wanted_per_second": plan.rate_per_second if plan.is_open_loop else None,
        "rate_offered_per_second": round(figures.arrived / seconds, 1)
        if (seconds := figures.last_arrival_seconds)
        else 0.0,
        "is_kept": not complaints,
        "words": words,
        "send_lag": figures.send_lag.as_json() if plan.is_open_loop else None,
        "loop_lag": figures.loop_lag.as_json(),
        "queued": figures.queued,
    }
