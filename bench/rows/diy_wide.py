"""diy_wide: the do-it-yourself service under the load of `wide`, with the pool that suits many skus: see `diy`."""

from __future__ import annotations

from bench import wide
from bench.database import fetch_number, fetch_row
from bench.row import RateRow, Reference, Sample, out_of_bracket, sample

CONNECTIONS = 10
PREFIX = "W"
STOCK = "INSERT INTO stock SELECT $1 || at, $2 FROM generate_series(0, $3 - 1) AS at"
TAKEN = "SELECT (count(*) * $2 - sum(available))::bigint FROM stock WHERE sku ~ ('^' || $1 || '[0-9]+$')"
RESERVED = "SELECT coalesce(sum(quantity), 0)::bigint FROM reservation WHERE sku ~ ('^' || $1 || '[0-9]+$')"
TAIL_COUNT = 1000


class DiyWide(RateRow):
    """POST of one line of one of 10,000 skus; every answer is committed, with fsync."""

    name = "diy_wide"
    title = "reference: aiohttp + asyncpg + one CTE, 10,000 skus"
    needs_gateway = False
    references = (Reference("noop"),)

    def prepare(self) -> None:
        """The service runs, and every sku has plenty."""
        server = self.stage.start_diy(self.name, CONNECTIONS)
        self._url = self.stage.diy_database_url
        fetch_row(self._url, STOCK, PREFIX, wide.ON_HAND, wide.SKUS)
        self._request = wide.request(server.port, PREFIX)
        self._problems: list[str] = []
        self._taken = self._answered = 0

    def play(self, seconds: float) -> Sample:
        """One round."""
        played = sample(self.stage.generator.play(self._request, seconds))
        self._answered = played.done
        return played

    def settle(self) -> None:
        """The round is counted."""
        self._count(self.stage.generator.in_flight_max())

    def verify(self) -> list[str]:
        """Each round took what was answered, exactly so a tail that was waited for, and as much is reserved."""
        statuses = self.stage.exact.count(self._request, TAIL_COUNT)
        self._answered = TAIL_COUNT
        self._count(0)
        if statuses != {"201": TAIL_COUNT}:
            self._problems.append(f"diy_wide: {TAIL_COUNT} reserves were answered {statuses}")
        reserved = fetch_number(self._url, RESERVED, PREFIX)
        if reserved != self._taken:
            self._problems.append(f"diy_wide: {self._taken} units were taken, but {reserved} are reserved")
        return self._problems

    def _count(self, in_flight_max: int) -> None:
        taken = fetch_number(self._url, TAKEN, PREFIX, wide.ON_HAND)
        found, self._taken = taken - self._taken, taken
        self._problems += out_of_bracket("diy_wide, units that a round took", found, self._answered, in_flight_max)
