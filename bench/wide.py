"""Ten thousand skus that are sold side by side: the request, and the count of what was taken of all of them."""

from __future__ import annotations

import json

from bench.client import GatewayClient
from bench.failure import ServerFailure
from bench.load import Request

SKUS = 10_000
ON_HAND = 1_000_000
ROWS = 1000  # skus that one query may name


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
