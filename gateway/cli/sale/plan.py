"""What a flash sale was asked to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from gateway.cli.sale.pay_delay import PayDelay


@dataclass(frozen=True, slots=True)
class Plan:
    """One sale. `rate_per_second` 0 means a closed loop of `concurrency` buyers; `duration_seconds` 0 means until all came.

    `run` is a name that no other run has: it stands in the skus, the keys and the references of the reservations. `key` is the
    API key and is told nowhere.
    """

    run: str
    url: str
    shop: str
    key: str
    location: str
    skus: int
    units: int
    buyers: int
    rate_per_second: float
    arrivals: str
    concurrency: int
    abandon: float
    pay_delay: PayDelay
    pay_delay_text: str
    duplicates: float
    bots: float
    bot_tries: int
    ttl_seconds: int
    duration_seconds: float
    connections: int
    patience_seconds: float
    settle_seconds_max: float
    seed: int
    has_conservation: bool = True
    is_kept: bool = False

    @property
    def is_open_loop(self) -> bool:
        """Whether buyers come at their own times, whatever the gateway answers."""
        return self.rate_per_second > 0

    @property
    def units_total(self) -> int:
        """Units of all skus together."""
        return self.skus * self.units

    def sku(self, index: int) -> str:
        """The name of the sku, 0-based."""
        return f"flashsale-{self.run}-{index + 1}"

    def request_key(self, buyer: int, attempt: int) -> str:
        """The idempotency key of one try of one buyer."""
        return f"{self.run}.{buyer}.{attempt}"

    def as_json(self) -> dict[str, object]:
        """The options as they were given, without the API key and without a login in the address."""
        told = asdict(self)
        for name in ("key", "pay_delay", "pay_delay_text", "run", "settle_seconds_max", "has_conservation", "is_kept"):
            del told[name]
        parts = urlsplit(self.url)
        told["url"] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return told | {"pay_delay": self.pay_delay_text, "conservation": self.has_conservation, "keep": self.is_kept}
