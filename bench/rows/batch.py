"""batch: `POST /v1/batch` with a hundred reserves of a hot sku in each call. What is counted is reserves, not calls.

The generator sees the status of a call, not of what is in it, but each reserve that was
refused or lost is missing in the level, which must hold a hundred units for each call.
"""

from __future__ import annotations

import json
from typing import ClassVar

from bench.load import Request
from bench.row import Reference
from bench.rows.hot import Hot


class Batch(Hot):
    """POST of a batch of 100 reserves."""

    name = "batch"
    title = "batch of 100 reserves, ack=memory (reserves/s)"
    references: ClassVar[tuple[Reference, ...]] = (Reference("script", 1.0),)
    connections = 8
    status = "200"
    units: ClassVar[int] = 100
    is_aside = True

    def request(self, name: str) -> Request:
        """As many reserves of one unit as `units` says."""
        one = {"op": "reserve", "body": {"lines": [{"sku": name, "quantity": 1}], "tier": "order"}}
        body = json.dumps({"operations": [one] * self.units}, separators=(",", ":"))
        return Request(self.client.port, "POST", "/v1/batch?ack=memory", body)
