"""What a run was asked to do; sent to every worker process, and kept in the state file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from urllib.parse import quote

KEY_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. `speed` 0 means as fast as it goes; `run` makes its idempotency keys its own.

    `is_resumed`: the run goes on where an earlier process stopped, so an answer may be the replay of one
    given long ago.
    """

    run: str
    url: str
    shop: str
    key: str
    speed: float
    abandon: float
    ttl_seconds: int
    stock: str
    seed: int
    concurrency: int
    processes: int
    location: str
    source: str
    patience_seconds: float
    settle_seconds_max: float
    is_resumed: bool = False

    def is_abandoned(self, invoice: str) -> bool:
        """Whether the buyer of this invoice walks away: decided by seed and number, so equal in every process
        and run.
        """
        hashed = hashlib.blake2b(f"{self.seed}:{invoice}".encode(), digest_size=8).digest()
        return int.from_bytes(hashed) < self.abandon * 2**64

    def request_key(self, invoice: str, part: str) -> str:
        """The idempotency key of one request of this run: visible ASCII, and another for each part of an
        invoice.
        """
        readable = f"{self.run}.{quote(invoice, safe='')}.{part}"
        if len(readable) <= KEY_LENGTH_MAX:
            return readable
        return f"{self.run}.{hashlib.blake2b(readable.encode(), digest_size=16).hexdigest()}"

    def start_units(self, sold: int) -> int:
        """The start stock of a sku that sells so much, rounded down; counted in decimals, 0.7 of 10 is 7."""
        return int((Decimal(self.stock) * sold).to_integral_value(ROUND_FLOOR))
