"""wide: as `hot`, but each reserve is of another one of 10,000 skus.

The generator builds the requests before its clock starts. What a round took is counted over all the skus when its backlog is drained:
the sum of their held units must have grown by exactly the units that were answered.
"""

from __future__ import annotations

from bench import wide
from bench.database import fetch_number
from bench.row import RateRow, Reference, Sample, out_of_bracket, sample

PREFIX = "W"
HELD = "SELECT sum(held)::bigint FROM levels WHERE sku ~ $1"
TAIL_COUNT = 1000


class Wide(RateRow):
    """POST of one line of one of 10,000 skus."""

    name = "wide"
    title = "reserve, 10,000 skus, ack=memory"
    references = (Reference("noop", 0.72), Reference("diy_wide", 2.0))

    def prepare(self) -> None:
        """The gateway serves, and every sku has plenty."""
        self._client = self.stage.side_gateway.client
        wide.stock(self._client, PREFIX)
        self._request = wide.request(self._client.port, PREFIX)
        self._problems: list[str] = []
        self._held = self._answered = 0

    def play(self, seconds: float) -> Sample:
        """One round."""
        played = sample(self.stage.generator.play(self._request, seconds))
        self._answered = played.done
        return played

    def settle(self) -> None:
        """The backlog is drained, and the round counted."""
        self._client.drain()
        self._count(self.stage.generator.in_flight_max())

    def verify(self) -> list[str]:
        """Each round took what was answered, and exactly so a tail that was waited for."""
        statuses = self.stage.exact.count(self._request, TAIL_COUNT)
        self._answered = TAIL_COUNT
        self._count(0)
        if statuses != {"201": TAIL_COUNT}:
            self._problems.append(f"wide: {TAIL_COUNT} reserves were answered {statuses}")
        self._client.drain()
        durable = fetch_number(self.stage.side_gateway.database_url, HELD, f"^{PREFIX}[0-9]+$")
        if durable != self._held:
            self._problems.append(f"wide: {self._held} held in Redis, {durable} in the durable store")
        return self._problems

    def _count(self, in_flight_max: int) -> None:
        held = wide.held(self._client, PREFIX)
        taken, self._held = held - self._held, held
        self._problems += out_of_bracket("wide, units that a round took", taken, self._answered, in_flight_max)
