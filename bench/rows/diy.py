"""diy: the do-it-yourself service of `bench/references/diy.py` under the load of `hot`.

Its pool has the size that asyncpg chooses by itself. That is also the size at which it sells many skus
fastest; see `diy_tuned` for the size that suits a single hot row.
"""

from __future__ import annotations

from typing import ClassVar

from bench.client import GatewayClient
from bench.database import fetch_number, fetch_row
from bench.row import RateRow, Reference, Sample, out_of_bracket, sample

ON_HAND = 1_000_000_000
TAIL_COUNT = 1000


class Diy(RateRow):
    """POST of one line of one hot sku, a new sku each round; every answer is committed, with fsync."""

    name = "diy"
    title = "reference: aiohttp + asyncpg + one CTE, hot sku"
    needs_gateway = False
    references = (Reference("noop"),)
    connections: ClassVar[int] = 10

    def prepare(self) -> None:
        """The service runs."""
        self._client = GatewayClient(self.stage.start_diy(self.name, self.connections).port)
        self._counted: dict[str, int] = {}

    def play(self, seconds: float) -> Sample:
        """One round."""
        sku = self._new_sku()
        played = sample(self.stage.generator.play(self._client.reserve(sku, "durable"), seconds))
        self._counted[sku] = played.done
        return played

    def verify(self) -> list[str]:
        """The rows say what the answers said, per round; and exactly so for a tail that was waited for."""
        in_flight_max = self.stage.generator.in_flight_max()
        problems = [
            problem
            for sku, counted in self._counted.items()
            for problem in out_of_bracket(f"{self.name}, units of {sku}", self._taken(sku), counted, in_flight_max)
        ]
        sku = self._new_sku()
        statuses = self.stage.exact.count(self._client.reserve(sku, "durable"), TAIL_COUNT)
        taken = self._taken(sku)
        if statuses != {"201": TAIL_COUNT} or taken != TAIL_COUNT:
            problems.append(f"{self.name}: {TAIL_COUNT} reserves were answered {statuses} and took {taken} units")
        return problems

    def _new_sku(self) -> str:
        sku = f"{self.name.upper()}-{len(self._counted):04}"
        fetch_row(self.stage.diy_database_url, "INSERT INTO stock VALUES ($1, $2)", sku, ON_HAND)
        return sku

    def _taken(self, sku: str) -> int:
        """Units gone from the sku's row, which must be those of its reservations."""
        url = self.stage.diy_database_url
        taken = ON_HAND - fetch_number(url, "SELECT available FROM stock WHERE sku = $1", sku)
        reserved = fetch_number(url, "SELECT coalesce(sum(quantity), 0)::bigint FROM reservation WHERE sku = $1", sku)
        return taken if taken == reserved else -1
