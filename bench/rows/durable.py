"""durable: as `hot`, but each answer waits until its change is committed in PostgreSQL, fsync on.

Checked in the database itself, and without waiting for anything: what was answered is there when the round
ends.
"""

from __future__ import annotations

from typing import ClassVar

from bench.database import fetch_number
from bench.row import Reference, Sample, out_of_bracket
from bench.rows.hot import HELD, Hot


class Durable(Hot):
    """POST of one line of one hot sku with ack=durable."""

    name = "durable"
    title = "reserve, hot sku, ack=durable"
    references: ClassVar[tuple[Reference, ...]] = (
        Reference("noop", 0.5),
        Reference("diy", 5.0),
        Reference("diy_tuned"),
        Reference("hot", p99_times_max=3.0),
    )
    ack = "durable"

    def prepare(self) -> None:
        """The gateway serves."""
        super().prepare()
        self._problems: list[str] = []

    def play(self, seconds: float) -> Sample:
        """One round, and a look into the database right after it."""
        played = super().play(seconds)
        sku = next(reversed(self.counted))
        held = fetch_number(self.gateway.database_url, HELD, sku)
        what = f"{self.name}, committed holds of {sku}"
        self._problems += out_of_bracket(what, held, played.done, self.in_flight_max)
        return played

    def verify(self) -> list[str]:
        """As `hot`, and the database held what was answered at the end of each round."""
        return self._problems + super().verify()
