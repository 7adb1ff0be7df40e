"""Instants: milliseconds since 1970 by Redis' clock inside, RFC 3339 UTC with milliseconds outside."""

from __future__ import annotations

import time
from typing import Final

SECONDS_MAX: Final = 4096  # seconds whose text is remembered

_seconds: dict[int, str] = {}
_MILLISECONDS: Final = [f"{ms:03d}Z" for ms in range(1000)]


def rfc3339(at_ms: int) -> str:
    """The instant as `2026-11-21T10:00:00.000Z`."""
    second = at_ms // 1000
    text = _seconds.get(second)
    if text is None:
        if len(_seconds) >= SECONDS_MAX:
            _seconds.clear()
        text = _seconds[second] = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
    return text + _MILLISECONDS[at_ms % 1000]


def rfc3339_or_none(at_ms: int | None) -> str | None:
    """The instant as text, or None for none."""
    return None if at_ms is None else rfc3339(at_ms)
