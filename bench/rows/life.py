"""life: whole lives of reservations: reserved, confirmed and fulfilled. What is counted is lives, not calls.

No call names an `ack`: the reserve is answered from memory, confirm and fulfil once they are committed, as is
the default.
"""

from __future__ import annotations

from dataclasses import replace

from bench.row import RateRow, Reference, Sample, out_of_bracket

ON_HAND = 1_000_000_000


class Life(RateRow):
    """POST of one line, POST of confirm, POST of fulfil."""

    name = "life"
    title = "whole life: reserve, confirm, fulfil (lives/s)"
    references = (Reference("noop", 0.25),)

    def prepare(self) -> None:
        """The gateway serves."""
        self._client = self.stage.gateway.client
        self._counted: dict[str, int] = {}

    def play(self, seconds: float) -> Sample:
        """One round, with a sku of its own."""
        sku = f"LIFE-{len(self._counted):04}"
        self._client.stock(sku, ON_HAND)
        request = replace(self._client.reserve(sku, "memory"), path="/v1/reservations")
        outcome = self.stage.generator.play(request, seconds, "life")
        self._counted[sku] = outcome.lives
        wrong = outcome.refusals + outcome.lost
        return Sample(outcome.lives, wrong, outcome.seconds, outcome.p50_ms, outcome.p99_ms)

    def settle(self) -> None:
        """The backlog is drained."""
        self._client.drain()

    def verify(self) -> list[str]:
        """As many units left each round's level as lives were counted."""
        in_flight_max = self.stage.generator.in_flight_max()
        problems = []
        for sku, lives in self._counted.items():
            level = self._client.level(sku)
            left = ON_HAND - level["on_hand"]
            problems += out_of_bracket(f"life, units of {sku} that left", left, lives, in_flight_max)
            if level["available"] != level["on_hand"] - level["held"] - level["committed"]:
                problems.append(f"life: {sku} reads {level}")
        return problems
