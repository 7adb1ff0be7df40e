"""diy_wide: the do-it-yourself service under the load of `wide`, with the pool that suits many skus: see `diy`."""

from __future__ import annotations

from bench import wide
from bench.database import fetch_number, fetch_row
from bench.load import Request
from bench.row import Reference

CONNECTIONS = 10
PREFIX = "W"
STOCK = "INSERT INTO stock SELECT $1 || at, $2 FROM generate_series(0, $3 - 1) AS at"
TAKEN = "SELECT (count(*) * $2 - sum(available))::bigint FROM stock WHERE sku ~ ('^' || $1 || '[0-9]+$')"
RESERVED = "SELECT coalesce(sum(quantity), 0)::bigint FROM reservation WHERE sku ~ ('^' || $1 || '[0-9]+$')"


class DiyWide(wide.WideRow):
    """POST of one line of one of 10,000 skus; every answer is committed, with fsync."""

    name = "diy_wide"
    title = "reference: aiohttp + asyncpg + one CTE, 10,000 skus"
    needs_gateway = False
    references = (Reference("noop"),)

    def prepare(self) -> None:
        """The service runs, and every sku has plenty."""
        self._port = self.stage.start_diy(self.name, CONNECTIONS).port
        self._url = self.stage.diy_database_url
        fetch_row(self._url, STOCK, PREFIX, wide.ON_HAND, wide.SKUS)

    def wide_request(self) -> Request:
        """See `WideRow`."""
        return wide.request(self._port, PREFIX)

    def count(self) -> int:
        """See `WideRow`."""
        return fetch_number(self._url, TAKEN, PREFIX, wide.ON_HAND)

    def verify(self) -> list[str]:
        """As of every wide row, and as much is reserved."""
        problems = super().verify()
        reserved = fetch_number(self._url, RESERVED, PREFIX)
        if reserved != self.units:
            problems.append(f"diy_wide: {self.units} units were taken, but {reserved} are reserved")
        return problems
