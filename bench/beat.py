"""A beat: a callback of an event loop at short, even intervals.

Timers of uvloop and asyncio know milliseconds only, and a request that leaves two of them late is one that a server seems to have
answered two late. The kernel's own timer wakes the loop like a socket does.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable


class _Interval(ctypes.Structure):
    """The kernel's `itimerspec`: the time between two beats, and to the first one."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "first_s", "first_ns"))


class Beat:
    """A context in which `told` is called every `seconds`, less than one, by the running loop. Linux alone has such a timer."""

    def __init__(self, seconds: float, told: Callable[[], None]) -> None:
        """It does not beat yet."""
        self._every_ns = round(seconds * 1e9)
        self._told = told

    def __enter__(self) -> Beat:
        kernel = ctypes.CDLL(None, use_errno=True)
        self._timer = kernel.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        interval = _Interval(0, self._every_ns, 0, self._every_ns)
        if self._timer < 0 or kernel.timerfd_settime(self._timer, 0, ctypes.byref(interval), None) != 0:
            raise OSError(ctypes.get_errno(), "the kernel gave no timer")
        asyncio.get_running_loop().add_reader(self._timer, self._beat)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._timer)
        os.close(self._timer)

    def _beat(self) -> None:
        os.read(self._timer, 8)  # how many beats are over: what was missed is not made up for
        self._told()
