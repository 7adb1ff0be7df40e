"""Reservations that expire while other tests run, so that a test of the expired state need not wait."""

from __future__ import annotations

import json
import secrets
import urllib.request
from dataclasses import dataclass
from typing import Any

POOL_SIZE = 32


@dataclass(frozen=True)
class Aged:
    """A reservation of 2 of the 5 units of sku `A` at `main`, made with one second to live."""

    shop: str
    id: str
    expires_at: str


def aged_reservations(address: str) -> list[Aged]:
    """`POOL_SIZE` holds, each in a shop of its own, and in the durable store, where searches look for them."""
    pool = []
    for _ in range(POOL_SIZE):
        shop = f"aged{secrets.token_hex(5)}"
        level = {"source": "setup", "sequence": 1, "on_hand": 5}
        _send("PUT", f"{address}/v1/stock/A/main?shop={shop}&ack=memory", level)
        hold = {"lines": [{"sku": "A", "quantity": 2}], "ttl_seconds": 1, "reference": "aged"}
        held = _send("POST", f"{address}/v1/reservations?shop={shop}&ack=durable", hold)
        pool.append(Aged(shop, held["id"], held["expires_at"]))
    return pool


def _send(method: str, url: str, body: Any) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)  # noqa: S310 - our gateway
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
        return json.load(answer)
