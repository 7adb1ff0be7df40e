"""noop_wide: as `noop`, with the requests of `wide`: what it costs the generator to send another body each time is in it."""

from __future__ import annotations

from bench import wide
from bench.client import GatewayClient
from bench.load import Request
from bench.rows.noop import Noop
from bench.rows.wide import PREFIX


class NoopWide(Noop):
    """POST of one line of one of 10,000 skus, answered 201 with a constant."""

    name = "noop_wide"
    title = f"reference: aiohttp no-op, POST, {wide.SKUS:,} skus"

    def request(self, client: GatewayClient) -> Request:
        """The request of every round."""
        return wide.request(client.port, PREFIX)
