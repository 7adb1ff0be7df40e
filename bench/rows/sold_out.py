"""sold_out: reserve a sku whose units are all in open holds; it names when the next may come back."""

from __future__ import annotations

from bench.row import RateRow, Reference, Sample, sample

SKU = "SOLD-OUT"
UNITS = 10
TAIL_COUNT = 1000


class SoldOut(RateRow):
    """POST of one line, answered 409."""

    name = "sold_out"
    title = "reserve, sold out (409)"
    references = (Reference("noop", 0.75),)

    def prepare(self) -> None:
        """The sku has units, and open holds have them all."""
        self._client = self.stage.gateway.client
        self._request = self._client.reserve(SKU, "memory")
        self._client.stock(SKU, UNITS)
        for _ in range(UNITS):
            self._client.sent(self._request, 201)

    def play(self, seconds: float) -> Sample:
        """One round."""
        return sample(self.stage.generator.play(self._request, seconds), expects_refusal=True)

    def verify(self) -> list[str]:
        """The refusals were 409 and changed nothing."""
        problems = []
        statuses = self.stage.exact.count(self._request, TAIL_COUNT)
        if statuses != {"409": TAIL_COUNT}:
            problems.append(f"sold_out: {TAIL_COUNT} reserves were answered {statuses}")
        level = self._client.level(SKU)
        if (level["held"], level["available"]) != (UNITS, 0):
            problems.append(f"sold_out: {level['held']} held and {level['available']} available of {UNITS} units")
        return problems
