"""Gateways that stand still in the middle of a COPY, and hold what it locked.

The server ends a session that is idle in a transaction. One that waits for the rows of a COPY counts as busy: no timeout of the
server's ends it, and to be cancelled is something it puts off until rows come. Only to be terminated is not.
"""

from __future__ import annotations

from typing import Final

import structlog

from gateway.durable.postgres_transaction import IDLE_SECONDS_MAX, RawConnection

log = structlog.get_logger(__name__)

#: What sessions of gateways are called.
APPLICATION: Final = "reservation-gateway"

_END: Final = """
    SELECT pid, pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE application_name = $1 AND datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
      AND state = 'active' AND query LIKE 'COPY %' AND wait_event = 'ClientRead'
      AND xact_start < clock_timestamp() - $2 * interval '1 second'
"""


async def end_frozen(raw: RawConnection) -> None:
    """No session of a gateway waits for rows in a transaction that is older than one may be idle in."""
    for pid, is_told in await raw.fetch(_END, APPLICATION, float(IDLE_SECONDS_MAX)):
        log.warning("frozen_session_ended", pid=pid, told=is_told)
