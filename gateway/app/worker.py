"""One worker: a gateway process in one role, on the leash of the process that supervises it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from gateway.app.role import Role
from gateway.embedded.child import leashed

#: Names the descriptor on which a worker tells that it serves.
READY_VARIABLE: Final = "RESERVATION_GATEWAY_READY_FD"
#: Names the process to tell of a reload that one worker was asked for; workers alone have it.
SUPERVISOR_VARIABLE: Final = "RESERVATION_GATEWAY_SUPERVISOR_PID"


class Worker:
    """A process that can be started again. Its output is this process' own."""

    def __init__(self, name: str, role: Role, options: Sequence[str], environment: Mapping[str, str]) -> None:
        """Nothing runs yet. `options` are those of `gateway serve` besides the role."""
        self.name = name
        self._command = [sys.executable, "-m", "gateway", "serve", "--role", role, *options]
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False
        self._ready_fd = -1
        self._is_ready = False

    @property
    def is_ready(self) -> bool:
        """Whether the process that was started last has told that it serves."""
        if not self._is_ready and self._ready_fd >= 0:
            with suppress(BlockingIOError):
                self._is_ready = os.read(self._ready_fd, 1) != b""
        return self._is_ready

    @property
    def has_ended(self) -> bool:
        """Whether it ended though nobody stopped it."""
        return not self._is_stopped and self._process is not None and self._process.poll() is not None

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit status of the process that ended, negative where a signal ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int | None:
        """The process id."""
        return None if self._process is None else self._process.pid

    def relaunch(self) -> None:
        """The process is started, the first time or again. Call it from the main thread: see `leashed`."""
        # In a session of its own, so that a Ctrl-C in the terminal reaches its supervisor alone, which ends all in order.
        self._forget_pipe()
        self._ready_fd, told_fd = os.pipe()
        os.set_blocking(self._ready_fd, False)
        try:
            self._process = subprocess.Popen(
                leashed(self._command, death_signal=signal.SIGTERM),
                env=self._environment | {READY_VARIABLE: str(told_fd)},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(told_fd,),
            )
        finally:
            os.close(told_fd)

    def send(self, number: signal.Signals) -> None:
        """It has the signal, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """It was asked to drain and end, and is not started again."""
        self._is_stopped = True
        self.send(signal.SIGTERM)
        self._forget_pipe()

    def _forget_pipe(self) -> None:
        if self._ready_fd >= 0:
            os.close(self._ready_fd)
        self._ready_fd, self._is_ready = -1, False


def tell_ready() -> None:
    """The supervisor, if there is one, knows that this process serves."""
    told_fd = os.environ.pop(READY_VARIABLE, "")
    if told_fd:
        with suppress(OSError):  # a supervisor that is gone ends this process, too
            os.write(int(told_fd), b"1")
        os.close(int(told_fd))


def is_supervised() -> bool:
    """Whether this process is a worker of another one."""
    return SUPERVISOR_VARIABLE in os.environ


def tell_reload() -> None:
    """The supervisor, if there is one, passes the reload on to all its workers."""
    supervisor_pid = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor_pid and int(supervisor_pid) == os.getppid():
        os.kill(int(supervisor_pid), signal.SIGHUP)
