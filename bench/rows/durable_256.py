"""durable_256: as `durable`, over 256 connections: more callers share a commit."""

from __future__ import annotations

from bench.row import Reference
from bench.rows.durable import Durable


class Durable256(Durable):
    """POST of one line of one hot sku with ack=durable."""

    name = "durable_256"
    title = "reserve, hot sku, ack=durable, 256 connections"
    references = (Reference("noop_256", 0.65),)
    connections = 256
