"""What one request, one connection and one process may take: the bounds of the HTTP side."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds as plain numbers, named as the keys of `[http]` in the configuration where there is one."""

    body_bytes_max: int = 1_048_576
    #: All headers of a request and its request line together.
    header_bytes_max: int = 16_384
    headers_max: int = 100
    #: The time in which a head, once begun, must be complete.
    header_timeout_ms: int = 5_000
    #: The time in which a body must be complete; of an import: in which its next piece must come.
    body_timeout_ms: int = 10_000
    #: The time a client may take to make room for an answer before the connection is cut.
    write_timeout_ms: int = 10_000
    keepalive_timeout_ms: int = 75_000
    drain_timeout_ms: int = 6_000
    #: Connections of this process; one more is answered `overloaded` and closed.
    connections_max: int = 4_096
    #: Requests in flight in this process; one more is answered `overloaded`.
    requests_max: int = 4_096
    import_row_bytes_max: int = 65_536
    #: Rejected rows that an import lists one by one; all are counted.
    import_rejected_max: int = 1_000
