"""multi_line: a reservation of twenty lines, all of them or none, each of a sku of its own."""

from __future__ import annotations

from bench.load import Request
from bench.row import Reference
from bench.rows.hot import Hot
from bench.rows.noop_lines import LINES, lines_request


class MultiLine(Hot):
    """POST of twenty lines of twenty hot skus."""

    name = "multi_line"
    title = f"reserve of {LINES} lines, ack=memory"
    references = (Reference("noop_lines", 0.35),)
    is_aside = True

    def request(self, name: str) -> Request:
        """One unit of each sku of the round."""
        return lines_request(self.client.port, self.skus(name))

    def skus(self, name: str) -> list[str]:
        """Twenty of them."""
        return [f"{name}-{at:02}" for at in range(LINES)]
