"""noop_get: what aiohttp itself does with a GET and an answer of the bytes of a sku."""

from __future__ import annotations

from bench.client import GatewayClient
from bench.load import Request
from bench.rows.noop import Noop


class NoopGet(Noop):
    """GET of the path of `read`, answered 200 with a constant."""

    name = "noop_get"
    title = "reference: aiohttp no-op, GET"

    def request(self, client: GatewayClient) -> Request:
        """The request of every round."""
        return client.read("READ")
