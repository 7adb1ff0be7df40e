"""noop_256: as `noop`, over 256 connections."""

from __future__ import annotations

from bench.rows.noop import Noop


class Noop256(Noop):
    """POST of the body of `hot`, answered 201 with a constant."""

    name = "noop_256"
    title = "reference: the same, 256 connections"
    connections = 256
