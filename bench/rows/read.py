"""read: read one sku, which the gateway does from Redis in the order of writes, never from a cache."""

from __future__ import annotations

from bench.row import RateRow, Reference, Sample, sample

SKU = "READ"
ON_HAND = 1000
TAIL_COUNT = 1000


class Read(RateRow):
    """GET of one sku with one level."""

    name = "read"
    title = "read one sku"
    references = (Reference("noop_get", 0.8),)

    def prepare(self) -> None:
        """The sku is there, with one hold."""
        self._client = self.stage.gateway.client
        self._client.stock(SKU, ON_HAND)
        self._client.sent(self._client.reserve(SKU, "durable"), 201)

    def play(self, seconds: float) -> Sample:
        """One round."""
        return sample(self.stage.generator.play(self._client.read(SKU), seconds))

    def verify(self) -> list[str]:
        """The answers were 200, and the sku reads as it was made."""
        problems = []
        statuses = self.stage.exact.count(self._client.read(SKU), TAIL_COUNT)
        if statuses != {"200": TAIL_COUNT}:
            problems.append(f"read: {TAIL_COUNT} reads were answered {statuses}")
        level = self._client.level(SKU)
        if (level["on_hand"], level["held"], level["available"]) != (ON_HAND, 1, ON_HAND - 1):
            problems.append(f"read: the sku reads {level}")
        return problems
