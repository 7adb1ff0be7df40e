"""wide: as `hot`, but each reserve is of another one of 10,000 skus."""

from __future__ import annotations

from bench import wide
from bench.database import fetch_number
from bench.load import Request
from bench.row import Reference

PREFIX = "W"
HELD = "SELECT sum(held)::bigint FROM levels WHERE sku ~ $1"


class Wide(wide.WideRow):
    """POST of one line of one of 10,000 skus."""

    name = "wide"
    title = "reserve, 10,000 skus, ack=memory"
    references = (Reference("noop", 0.72), Reference("noop_wide"), Reference("diy_wide", 2.0))

    def prepare(self) -> None:
        """The gateway serves, and every sku has plenty."""
        self._client = self.stage.side_gateway.client
        wide.stock(self._client, PREFIX)

    def wide_request(self) -> Request:
        """See `WideRow`."""
        return wide.request(self._client.port, PREFIX)

    def count(self) -> int:
        """See `WideRow`."""
        return wide.held(self._client, PREFIX)

    def settle(self) -> None:
        """The backlog is drained, and the round counted."""
        self._client.drain()
        super().settle()

    def verify(self) -> list[str]:
        """As of every wide row, and the durable store has the same."""
        problems = super().verify()
        self._client.drain()
        durable = fetch_number(self.stage.side_gateway.database_url, HELD, f"^{PREFIX}[0-9]+$")
        if durable != self.units:
            problems.append(f"wide: {self.units} held in Redis, {durable} in the durable store")
        return problems
