"""noop_lines: as `noop`, with the body of `multi_line`. Its answer is as short as that of one line: it can only be faster for it."""

from __future__ import annotations

import json

from bench.client import GatewayClient
from bench.load import Request
from bench.rows.noop import Noop

LINES = 20


class NoopLines(Noop):
    """POST of twenty lines, answered 201 with a constant."""

    name = "noop_lines"
    title = f"reference: aiohttp no-op, POST of {LINES} lines"

    def request(self, client: GatewayClient) -> Request:
        """The request of every round."""
        return lines_request(client.port, [f"MULTI_LINE-0001-{at:02}" for at in range(LINES)])


def lines_request(port: int, skus: list[str]) -> Request:
    """The request that holds one unit of each of the skus for a day."""
    body = {"lines": [{"sku": sku, "quantity": 1} for sku in skus], "tier": "order"}
    return Request(port, "POST", "/v1/reservations?ack=memory", json.dumps(body, separators=(",", ":")))
