"""hot_open: the latencies of `hot` where buyers come at their own times: half as many as a closed loop reaches.

A latency counts from the instant at which a request was due, so a stall is seen by all who would have come meanwhile. The client is
Python on the processor of Redis and PostgreSQL; it looks every half millisecond for what is due, which is part of the figure. What
it could not send, and what had no answer, counts as slower than everything else.
"""

from __future__ import annotations

from bench.open_loop import TENTHS_PER_SECOND, Job
from bench.row import Reference, Sample
from bench.rows.hot import Hot
from bench.storm import Storm, percentile_ms, play

SHARE = 0.5
CLOSED_SECONDS = 2.0
CONNECTIONS = 2000
PATIENCE_SECONDS = 10.0


class HotOpen(Hot):
    """POST of one line of one hot sku at a fixed rate."""

    name = "hot_open"
    title = "hot, open loop at half the rate"
    references = (Reference("hot"),)
    is_aside = True

    def prepare(self) -> None:
        """The gateway serves, and it is known how many it can do."""
        super().prepare()
        self.in_flight_max = 0
        name = self.new_round()
        self.stage.generator.play(self.request(name), CLOSED_SECONDS)  # warms the server
        closed = self.stage.generator.play(self.request(name), CLOSED_SECONDS)
        self._rate = SHARE * closed.answers / closed.seconds
        self.settle()

    def play(self, seconds: float) -> Sample:
        """One round."""
        name = self.new_round()
        request = self.request(name)
        job = Job(request.port, request.path, request.body, self._rate, seconds, CONNECTIONS, PATIENCE_SECONDS)
        storm = play(job, 1)
        self.counted[name] = storm.sold
        return sample_of(storm, seconds)


def sample_of(storm: Storm, seconds: float) -> Sample:
    """The round: refusals and requests without an answer are wrong, what was not even sent is only slow."""
    counts = storm.latencies()
    counts[int(PATIENCE_SECONDS * TENTHS_PER_SECOND)] += storm.unsent + storm.hung + storm.lost
    p50_ms, p99_ms = percentile_ms(counts, 0.50) or 0.0, percentile_ms(counts, 0.99) or 0.0
    wrong = storm.statuses.total() - storm.sold + storm.hung + storm.lost
    return Sample(storm.sold, wrong, seconds, p50_ms, p99_ms)
