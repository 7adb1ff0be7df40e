"""Ten thousand skus that are sold side by side: the request, the rounds, and the count of what was taken of all of them."""

from __future__ import annotations

import json
from abc import abstractmethod

from bench.client import GatewayClient
from bench.failure import ServerFailure
from bench.load import Request
from bench.row import RateRow, Sample, out_of_bracket, sample
from bench.stage import Stage

SKUS = 10_000
ON_HAND = 1_000_000
ROWS = 1000  # skus that one query may name
TAIL_COUNT = 1000


class WideRow(RateRow):
    """A row whose rounds reserve one unit of another sku each time.

    The generator builds the requests before its clock starts. What a round took is counted over all the skus when it has settled:
    it must be exactly what was answered.
    """

    def __init__(self, stage: Stage) -> None:
        """See `Row`."""
        super().__init__(stage)
        self.units = 0
        self._problems: list[str] = []
        self._answered = 0

    @abstractmethod
    def wide_request(self) -> Request:
        """What every round sends."""

    @abstractmethod
    def count(self) -> int:
        """The units of all skus that are taken by now."""

    def play(self, seconds: float) -> Sample:
        """One round."""
        played = sample(self.stage.generator.play(self.wide_request(), seconds))
        self._answered = played.done
        return played

    def settle(self) -> None:
        """The round is counted."""
        self._compare(self.stage.generator.in_flight_max())

    def verify(self) -> list[str]:
        """Each round took what was answered, and exactly so a tail that was waited for."""
        statuses = self.stage.exact.count(self.wide_request(), TAIL_COUNT)
        self._answered = TAIL_COUNT
        self._compare(0)
        if statuses != {"201": TAIL_COUNT}:
            self._problems.append(f"{self.name}: {TAIL_COUNT} reserves were answered {statuses}")
        return self._problems

    def _compare(self, in_flight_max: int) -> None:
        units = self.count()
        taken, self.units = units - self.units, units
        self._problems += out_of_bracket(f"{self.name}, units that a round took", taken, self._answered, in_flight_max)


def request(port: int, prefix: str, skus: int = SKUS) -> Request:
    """The reserve of one unit of another sku each time, held for a day."""
    body = {"lines": [{"sku": f"{prefix}@@", "quantity": 1}], "tier": "order"}
    return Request(port, "POST", "/v1/reservations?ack=memory", json.dumps(body, separators=(",", ":")), skus)


def stock(client: GatewayClient, prefix: str, skus: int = SKUS, first: int = 0) -> None:
    """Each of so many skus, counted from `first`, has plenty, durably. Raises ServerFailure."""
    rows = "".join(
        f'{{"sku":"{prefix}{at}","location":"main","on_hand":{ON_HAND}}}\n' for at in range(first, first + skus)
    )
    path = "/v1/stock/import?source=bench&sequence=1"
    told = client.sent(Request(client.port, "POST", path, rows), 200, "application/x-ndjson")
    if told["applied"] != skus or told["rejected"]:
        raise ServerFailure(f"an import of {skus} skus answered {str(told)[:500]}")


def held(client: GatewayClient, prefix: str, skus: int = SKUS) -> int:
    """The units that open holds have of all the skus together. Raises ServerFailure where a level does not add up."""
    total = 0
    for first in range(0, skus, ROWS):
        names = [f"{prefix}{at}" for at in range(first, min(first + ROWS, skus))]
        told = client.sent(Request(client.port, "POST", "/v1/stock/query", json.dumps({"skus": names})), 200)
        wrong = [one["sku"] for one in told["stock"] if one["available"] != ON_HAND - one["held"]]
        if wrong or len(told["stock"]) != len(names):
            raise ServerFailure(f"of {len(names)} skus {len(told['stock'])} were answered, wrong are {wrong[:3]}")
        total += sum(one["held"] for one in told["stock"])
    return total
