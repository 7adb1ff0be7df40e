"""batch_1000: as `batch`, a thousand reserves in each call, the most that one may have."""

from __future__ import annotations

from bench.row import Reference
from bench.rows.batch import Batch


class Batch1000(Batch):
    """POST of a batch of 1000 reserves."""

    name = "batch_1000"
    title = "batch of 1000 reserves, ack=memory (reserves/s)"
    references = (Reference("script"),)
    connections = 4
    units = 1000
