"""hot: reserve one unit of one hot sku, ack=memory, one worker, 64 connections.

A round gets a sku of its own with plenty of stock, made before the clock starts, so each round's count can be
checked. All holds stay open to the end: a later round works beside those of the earlier ones. A backlog of
unflushed events may build during a round and drains after it.
"""

from __future__ import annotations

from typing import ClassVar

from bench.load import CONNECTIONS
from bench.row import RateRow, Reference, Sample, out_of_bracket, sample

ON_HAND = 1_000_000_000
TAIL_COUNT = 1000


class Hot(RateRow):
    """POST of one line of one hot sku."""

    name = "hot"
    title = "reserve, hot sku, ack=memory"
    references: ClassVar[tuple[Reference, ...]] = (
        Reference("noop", 0.75, p99_times_max=2.0),
        Reference("diy", 7.0),
        Reference("diy_tuned"),
    )
    ack: ClassVar[str] = "memory"
    connections: ClassVar[int] = CONNECTIONS

    def prepare(self) -> None:
        """The gateway serves."""
        self.client = self.stage.gateway.client
        self.counted: dict[str, int] = {}
        self._skus = 0
        self.in_flight_max = self.stage.generator.in_flight_max(self.connections)

    def play(self, seconds: float) -> Sample:
        """One round."""
        sku = self._new_sku()
        request = self.client.reserve(sku, self.ack)
        played = sample(self.stage.generator.play(request, seconds, connections=self.connections))
        self.counted[sku] = played.done
        return played

    def settle(self) -> None:
        """The backlog is drained."""
        self.client.drain()

    def verify(self) -> list[str]:
        """Each round's level holds what was answered, and exactly so for a tail that was waited for."""
        problems = [
            problem
            for sku, counted in self.counted.items()
            for problem in self._wrong_level(sku, counted, self.in_flight_max)
        ]
        sku = self._new_sku()
        request = self.client.reserve(sku, self.ack)
        statuses = self.stage.exact.count(request, TAIL_COUNT, self.connections)
        if statuses != {"201": TAIL_COUNT}:
            problems.append(f"{self.name}: {TAIL_COUNT} reserves of {sku} were answered {statuses}")
        return problems + self._wrong_level(sku, TAIL_COUNT, 0)

    def _wrong_level(self, sku: str, counted: int, in_flight_max: int) -> list[str]:
        level = self.client.level(sku)
        held, available = level["held"], level["available"]
        problems = out_of_bracket(f"{self.name}, held of {sku}", held, counted, in_flight_max)
        if available != ON_HAND - held:
            problems.append(f"{self.name}: {sku} has {held} held of {ON_HAND}, but {available} available")
        return problems

    def _new_sku(self) -> str:
        self._skus += 1
        sku = f"{self.name.upper()}-{self._skus:04}"
        self.client.stock(sku, ON_HAND)
        return sku
