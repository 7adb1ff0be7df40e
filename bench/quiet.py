"""What else the machine does: waiting until it rests before a round, and measuring who disturbed one.

A flusher that drains, a checkpoint, an autovacuum show as processor time of ours, a build in another window
as that of others. Where the system has no /proc nothing is waited for and nothing is claimed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

PROC = Path("/proc")
HAS_PROC = (PROC / "stat").exists()
WINDOW_SECONDS = 0.25
BUSY_SHARE_MAX = 0.15
# Of all processors' time during a round: with more used by others, the round is marked as disturbed.
FOREIGN_SHARE_MAX = 0.10
# Positions in the first line of /proc/stat: see proc_stat(5).
IDLE, IOWAIT, GUEST = 3, 4, 8
# Positions in /proc/PID/stat after the name in brackets: see proc_pid_stat(5).
PARENT, OWN_USER, REAPED_SYSTEM = 1, 11, 14


def wait_quiet(seconds_max: float = 5.0) -> None:
    """The processors came to rest, or the time is over."""
    deadline = time.monotonic() + seconds_max
    while HAS_PROC and time.monotonic() < deadline:
        busy_before, all_before = _machine_ticks()
        time.sleep(WINDOW_SECONDS)
        busy, total = _machine_ticks()
        if busy - busy_before <= BUSY_SHARE_MAX * (total - all_before):
            return


class ForeignLoad:
    """The processor time that was used since now by processes that are not of this run."""

    def __init__(self) -> None:
        """The watch begins."""
        self._before = _readings() if HAS_PROC else None

    def share(self) -> float | None:
        """The part of all processors' time that others used, 0 to 1; None where the system does not tell."""
        if self._before is None:
            return None
        busy, total, own = (now - then for now, then in zip(_readings(), self._before, strict=True))
        return max(0, busy - own) / max(1, total)


def _readings() -> tuple[int, int, int]:
    """Busy ticks and all ticks of the machine, and the ticks of this run, since some moment in the past."""
    return (*_machine_ticks(), _own_ticks())


def _machine_ticks() -> tuple[int, int]:
    """Busy and all clock ticks of all processors since the start of the machine."""
    ticks = [int(word) for word in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]]
    # Guest time is counted in user time already.
    total = sum(ticks[:GUEST])
    return total - ticks[IDLE] - ticks[IOWAIT], total


def _own_ticks() -> int:
    """Clock ticks of this process and everything below it, with those of children that ended and were waited for."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The name may itself hold brackets and spaces.
            words = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(folder.name)
        parents[pid] = int(words[PARENT])
        ticks[pid] = sum(int(word) for word in words[OWN_USER : REAPED_SYSTEM + 1])
    return sum(count for pid, count in ticks.items() if _descends(pid, parents))


def _descends(pid: int, parents: dict[int, int]) -> bool:
    """Whether the process is this one, or was started by it or below it."""
    while pid not in (0, os.getpid()):
        pid = parents.get(pid, 0)
    return pid != 0
