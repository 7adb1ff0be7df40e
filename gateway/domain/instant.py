"""Instants: milliseconds since 1970 by Redis' clock inside, RFC 3339 UTC with milliseconds outside."""

from __future__ import annotations

import time
from functools import lru_cache


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))


def rfc3339(at_ms: int) -> str:
    """The instant as `2026-11-21T10:00:00.000Z`."""
    return f"{_second(at_ms // 1000)}{at_ms % 1000:03d}Z"


def rfc3339_or_none(at_ms: int | None) -> str | None:
    """The instant as text, or None for none."""
    return None if at_ms is None else rfc3339(at_ms)
