"""One server process of ours: in its own session, on the leash of this process, its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
LOG_BYTES_MAX = 4 * 1024 * 1024
LOG_LINES_MAX = 15


@dataclass(frozen=True)
class Owner:
    """The user that a child becomes before it starts."""

    uid: int
    gid: int


def leashed(command: list[str], *, death_signal: signal.Signals, owner: Owner | None = None) -> list[str]:
    """The command in a form that ends with the thread that starts it, which has to be the main one."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("start a private server from the main thread: it ends with the thread that started it")
    leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(death_signal))]
    leash.append("-" if owner is None else f"{owner.uid}:{owner.gid}")
    return [*leash, *command]


def start_child(
    command: list[str],
    *,
    folder: Path,
    log: Path,
    death_signal: signal.Signals,
    owner: Owner | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """The command runs with `folder` as its working directory and appends its output to `log`.

    It has a session of its own, so a Ctrl-C in the terminal does not reach it: the gateway drains first and
    ends it after. When this process ends without that, the kernel sends the child `death_signal`.

    Call it from the main thread: the kernel watches the *thread* that started the child, and a thread of a
    pool may end while the process lives on. Returns in a few milliseconds, long before the server is ready.
    """
    leash = leashed(command, death_signal=death_signal, owner=owner)
    _cut(log)
    with log.open("ab") as output:
        return subprocess.Popen(
            leash,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end_child(process: subprocess.Popen[bytes], steps: list[tuple[signal.Signals, float]]) -> int:
    """The process has ended; returns its exit code, negative where a signal ended it.

    `steps` are signals, each with the seconds it gets; after the last one comes SIGKILL, which needs no
    patience. Safe to repeat.
    """
    for number, seconds in steps:
        if process.poll() is not None:
            break
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.kill()
    return process.wait()


def last_lines(log: Path) -> list[str]:
    """The end of a log, at most `LOG_LINES_MAX` lines; none where there is no log."""
    try:
        with log.open("r", encoding="utf-8", errors="replace") as lines:
            return [line.rstrip() for line in deque(lines, LOG_LINES_MAX)]
    except FileNotFoundError:
        return []


def _cut(log: Path) -> None:
    """A log that has grown over the limit begins anew; one older part is kept beside it."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".old.log"))
