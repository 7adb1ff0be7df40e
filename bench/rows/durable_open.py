"""durable_open: as `hot_open`, each answer waits for its commit; half as many as a closed loop of `durable` reaches."""

from __future__ import annotations

from bench.row import Reference
from bench.rows.hot_open import HotOpen


class DurableOpen(HotOpen):
    """POST of one line of one hot sku with ack=durable at a fixed rate."""

    name = "durable_open"
    title = "durable, open loop at half the rate"
    references = (Reference("durable"),)
    ack = "durable"
