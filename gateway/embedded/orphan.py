"""A server that outlived the gateway that started it.

The leash ends a server with its gateway, but not everywhere at once: a big Redis takes a moment to write its
last lines, and not every system has the leash. So a start looks for one first. A pid file alone proves
nothing, because pids are used again (in a container, at every start): the process must also carry our folder
in its command line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from gateway.embedded.errors import ServerFailed

POLL_SECONDS = 0.02
KILL_SECONDS_MAX = 5.0


def end_orphan(pid_file: Path, mark: Path, number: signal.Signals, seconds_max: float) -> int | None:
    """No server of this folder runs and its pid file is gone; returns the pid of the one that was ended.

    `mark` is the path that only a server of this folder has in its command line. A live one gets the signal
    and `seconds_max` to finish its files, then SIGKILL.

    Raises:
        ServerFailed: it outlived even SIGKILL (a stuck disk); two servers must not write one folder.
    """
    pid = _read_pid(pid_file)
    ended = None
    if pid is not None and _is_ours(pid, mark):
        ended = pid
        if not (_signal_and_wait(pid, mark, number, seconds_max) or _kill_and_wait(pid, mark)):
            raise ServerFailed(f"process {pid} of {mark.parent} cannot be ended", pid_file, [])
    pid_file.unlink(missing_ok=True)
    return ended


def _signal_and_wait(pid: int, mark: Path, number: signal.Signals, seconds_max: float) -> bool:
    """Whether the process was gone within the time."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    deadline = time.monotonic() + seconds_max
    while _is_ours(pid, mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _kill_and_wait(pid: int, mark: Path) -> bool:
    return _signal_and_wait(pid, mark, signal.SIGKILL, KILL_SECONDS_MAX)


def _read_pid(pid_file: Path) -> int | None:
    """The pid on the first line; PostgreSQL writes more lines below it."""
    try:
        first = pid_file.read_text().split("\n", 1)[0].strip()
    except FileNotFoundError:
        return None
    return int(first) if first.isdigit() and int(first) > 1 else None


def _is_ours(pid: int, mark: Path) -> bool:
    """Whether the process lives and has the mark as a word of its command line; a zombie has no words."""
    if Path("/proc/self/cmdline").exists():
        try:
            return os.fsencode(mark) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
    # macOS has no /proc, and its `ps` does not tell where one word ends.
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return os.fsencode(mark) in subprocess.run(command, capture_output=True, check=False).stdout
