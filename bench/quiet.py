"""Waiting until the machine rests, so that a round does not pay for what an earlier one left behind.

A flusher that drains, a checkpoint, an autovacuum, a build in another window: all of them show as processor
time.
"""

from __future__ import annotations

import time
from pathlib import Path

STAT = Path("/proc/stat")
WINDOW_SECONDS = 0.25
BUSY_SHARE_MAX = 0.15
# Positions in the first line of /proc/stat: see proc_stat(5).
IDLE, IOWAIT, GUEST = 3, 4, 8


def wait_quiet(seconds_max: float = 5.0) -> bool | None:
    """Whether the processors came to rest within the time; None where the system does not tell (no /proc)."""
    if not STAT.exists():
        return None
    deadline = time.monotonic() + seconds_max
    while True:
        if _busy_share(WINDOW_SECONDS) <= BUSY_SHARE_MAX:
            return True
        if time.monotonic() > deadline:
            return False


def _busy_share(seconds: float) -> float:
    """The part of all processors' time that was used during the next `seconds`, 0 to 1."""
    busy_before, all_before = _ticks()
    time.sleep(seconds)
    busy, total = _ticks()
    return (busy - busy_before) / max(1, total - all_before)


def _ticks() -> tuple[int, int]:
    """Busy and all clock ticks of all processors since the start of the machine."""
    ticks = [int(word) for word in STAT.read_text().split("\n", 1)[0].split()[1:]]
    # Guest time is counted in user time already.
    total = sum(ticks[:GUEST])
    return total - ticks[IDLE] - ticks[IOWAIT], total
