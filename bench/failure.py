"""Why a run ended without a result.

BenchFailure
├── ServerFailure    a server of this run did not start, or answered what it should not
└── LoadFailure      the load generator did not do its work
"""

from __future__ import annotations


class BenchFailure(Exception):
    """The run cannot go on; nothing that it measured so far is a result."""


class ServerFailure(BenchFailure):
    """A server of this run did not start, or answered what it should not."""


class LoadFailure(BenchFailure):
    """The load generator did not do its work."""
