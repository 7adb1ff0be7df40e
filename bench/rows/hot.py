"""hot: reserve one unit of one hot sku, ack=memory, one worker, 64 connections.

A round gets a sku of its own with plenty of stock, made before the clock starts, so each round's count can be
checked. All holds stay open to the end: a later round works beside those of the earlier ones. A backlog of
unflushed events may build during a round and drains after it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from bench.database import fetch_number
from bench.load import CONNECTIONS, Request
from bench.row import RateRow, Reference, Sample, out_of_bracket, sample

ON_HAND = 1_000_000_000
HELD = "SELECT coalesce(sum(held), 0)::bigint FROM levels WHERE sku = $1"
HELD_OF_ALL = "SELECT coalesce(sum(held), 0)::bigint FROM levels WHERE sku = ANY($1::text[])"
TAIL_COUNT = 1000  # units; of calls that take more than one, at least so many calls
TAIL_CALLS_MIN = 10


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
    #: What a call that did all it should is answered, and the units of each sku that it takes.
    status: ClassVar[str] = "201"
    units: ClassVar[int] = 1
    #: Whether its holds are too many for the gateway whose books are checked at the end.
    is_aside: ClassVar[bool] = False

    def prepare(self) -> None:
        """The gateway serves."""
        self.gateway = self.stage.side_gateway if self.is_aside else self.stage.gateway
        self.client = self.gateway.client
        self.counted: dict[str, int] = {}
        self._rounds = 0
        self.in_flight_max = self.units * self.stage.generator.in_flight_max(self.connections)

    def request(self, name: str) -> Request:
        """The request of the round of this name."""
        return self.client.reserve(name, self.ack)

    def skus(self, name: str) -> list[str]:
        """The skus of which each request of this round takes `units`."""
        return [name]

    def play(self, seconds: float) -> Sample:
        """One round."""
        name = self.new_round()
        played = sample(self.stage.generator.play(self.request(name), seconds, connections=self.connections))
        played = replace(played, done=played.done * self.units)
        self.counted[name] = played.done
        return played

    def settle(self) -> None:
        """The backlog is drained."""
        self.client.drain()

    def verify(self) -> list[str]:
        """Each round's level holds what was answered, and exactly so for a tail that was waited for; so has the durable store."""
        problems = [
            problem
            for name, counted in self.counted.items()
            for problem in self._wrong_levels(name, counted, self.in_flight_max)
        ]
        name, calls = self.new_round(), max(TAIL_CALLS_MIN, TAIL_COUNT // self.units)
        statuses = self.stage.exact.count(self.request(name), calls, self.connections)
        if statuses != {self.status: calls}:
            problems.append(f"{self.name}: {calls} calls for {name} were answered {statuses}")
        self.client.drain()
        return problems + self._wrong_levels(name, calls * self.units, 0)

    def new_round(self) -> str:
        """There is plenty for a round of this name."""
        self._rounds += 1
        name = f"{self.name.upper()}-{self._rounds:04}"
        for sku in self.skus(name):
            self.client.stock(sku, ON_HAND)
        return name

    def _wrong_levels(self, name: str, counted: int, in_flight_max: int) -> list[str]:
        problems, total = [], 0
        for sku in self.skus(name):
            level = self.client.level(sku)
            held, available = level["held"], level["available"]
            problems += out_of_bracket(f"{self.name}, held of {sku}", held, counted, in_flight_max)
            total += held
            if available != ON_HAND - held:
                problems.append(f"{self.name}: {sku} has {held} held of {ON_HAND}, but {available} available")
        durable = fetch_number(self.gateway.database_url, HELD_OF_ALL, self.skus(name))
        if durable != total:
            problems.append(f"{self.name}: {name} has {total} held in Redis, {durable} in the durable store")
        return problems
