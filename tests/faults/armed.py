"""A gateway that ends or freezes itself at a named point of its own work: run as a file, it takes the arguments of `gateway`.

    GATEWAY_CRASH_POINT=name:nth:kill|stop|tell  python -P tests/faults/armed.py serve

The product knows nothing of this. The methods at which the points lie are wrapped here, in the process of a test alone, before the
gateway starts. `tell` does no harm: it writes that the point was passed, with `all:1:tell` each point when it is passed first.
On SIGUSR2 it writes how many tasks its loop has, armed or not.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

VARIABLE: Final = "GATEWAY_CRASH_POINT"
#: How the command begins with which a test starts such a gateway. `-P`: the files beside this one are no modules of the gateway.
COMMAND: Final = (sys.executable, "-P", str(Path(__file__).resolve()))
CHANGES: Final = frozenset({"reserve", "group", "batch", "extend", "confirm", "fulfil", "release", "put", "adjust"})
ALL: Final = "all"
#: Constants of the gateway that a test makes small: what lasts 30 s there is the same in 3 s, and little fills a page.
SMALL: Final = {
    "gateway.service.opening:OWNER_LEASE_MS": 3_000,
    "gateway.service.opening:PAGE": 10,
    "gateway.service.forgetting:PAGE": 10,
    "gateway.flush.flusher:SETTLE_NAMES_MAX": 2,
}

#: With what the method was called, and what it returned (None before the call): whether this is a passing of the point.
Counts = Callable[[tuple[Any, ...], Any], bool]


@dataclass(frozen=True, slots=True)
class Point:
    """A moment: right before or after a method is run. `place` is `module:name`."""

    place: str
    when: Literal["before", "after"]
    counts: Counts = lambda arguments, result: True


def _by(task: str) -> Counts:
    """In this task of the gateway alone."""

    def counts(_: tuple[Any, ...], __: Any) -> bool:
        current = asyncio.current_task()
        return current is not None and current.get_name() == task

    return counts


def _is_full_page(arguments: tuple[Any, ...], _: Any) -> bool:
    """Four numbers, then two names: more pages may follow."""
    return arguments[1] == "settle" and len(arguments[3]) == 4 + SMALL["gateway.flush.flusher:SETTLE_NAMES_MAX"]


def _is_forgetting(arguments: tuple[Any, ...], result: Any) -> bool:
    return arguments[1] == "UNLINK" and _by("forgetter")(arguments, result)


_FLUSHER: Final = "gateway.flush.flusher:Flusher"
_OPENER: Final = "gateway.service.opening:Opener"

#: In the order in which they are passed.
AT_WORK: Final = {
    # A script has changed something, nobody has been answered.
    "answer": Point("gateway.hot.shard:Shard.run", "after", lambda arguments, _: arguments[1] in CHANGES),
    "read": Point("gateway.flush.upcoming:Upcoming._read", "after", lambda _, has_read: bool(has_read)),
    # The gate has let the batch pass, and its row is locked; what is written comes next.
    "gate": Point("gateway.durable.postgres_append:copy_rows", "before", _by("flusher")),
    "commit": Point("gateway.durable.postgres_append:commit", "before", _by("flusher")),
    # Committed, and who waits for it does not know.
    "committed": Point(f"{_FLUSHER}._after_commit", "before"),
    # Who waits knows, and Redis does not.
    "told": Point(f"{_FLUSHER}._settle_left", "before", lambda arguments, _: bool(arguments[0]._unsettled)),
    # The log is trimmed, some of the names have a life and some do not.
    "trimming": Point("gateway.hot.shard:Shard.run", "after", _is_full_page),
}
AT_OPENING: Final = {
    "raised": Point("gateway.durable.stored:StoredLedger.raise_epoch", "after", lambda _, row: row is not None),
    "tail": Point("gateway.service.opening:commit_tail", "after", lambda arguments, _: bool(arguments[5])),
    # The holds are in Redis, their skus are not.
    "rebuild": Point("gateway.durable.stored:StoredLedger.skus_with_holds", "before"),
    "install": Point(f"{_OPENER}._install", "before"),
    "publish": Point(f"{_OPENER}._publish", "before"),
    # Some keys of the generation that is over are dropped.
    "forget": Point("gateway.hot.shard:Shard.ask", "after", _is_forgetting),
}
AT_THE_END: Final = {"drain": Point("gateway.app.engine:Engine._flush_rest", "before")}
POINTS: Final = AT_WORK | AT_OPENING | AT_THE_END


def passed(name: str, nth: int) -> str:
    """The line that a gateway writes when it has passed a point for the nth time."""
    return f"crash point {name} passed {nth}\n"


def arm(name: str, nth: int, how: str) -> None:
    """The nth time that this process passes the point it is killed or stopped, or says so."""
    act = {"kill": _kill, "stop": _stop, "tell": lambda: None}[how]
    _, owner, method = _found(POINTS[name].place)
    original = getattr(owner, method)
    setattr(owner, method, _wrapped(original, POINTS[name], _Countdown(name, nth, act)))


def main() -> None:
    """The gateway, armed as the environment says."""
    name, nth, how = os.environ.pop(VARIABLE, "::").split(":")
    for place, value in SMALL.items():
        module, _, constant = place.partition(":")
        setattr(importlib.import_module(module), constant, value)
    for one in POINTS if name == ALL else [name] * bool(name):
        arm(one, int(nth), how)
    _tell_tasks_when_asked()
    from gateway.cli import main as gateway

    gateway()


class _Countdown:
    """Acts once, at the nth passing."""

    def __init__(self, name: str, nth: int, act: Callable[[], None]) -> None:
        self._name, self._nth, self._act = name, nth, act
        self._count = 0

    def pass_by(self) -> None:
        self._count += 1
        if self._count == self._nth:
            os.write(2, passed(self._name, self._nth).encode())
            self._act()


def _tell_tasks_when_asked() -> None:
    app = importlib.import_module("gateway.app")
    new_event_loop = app.new_event_loop

    def listening_loop() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = new_event_loop()
        loop.add_signal_handler(signal.SIGUSR2, lambda: os.write(2, b"tasks %d\n" % len(asyncio.all_tasks(loop))))
        return loop

    app.new_event_loop = listening_loop  # type: ignore[attr-defined]


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # never: nothing of this process runs on


def _stop() -> None:
    signal.raise_signal(signal.SIGSTOP)


def _found(place: str) -> tuple[Any, Any, str]:
    """The module, what holds the method, and the method's name. Raises ImportError, AttributeError."""
    module_name, _, path = place.partition(":")
    module = importlib.import_module(module_name)
    owner: Any = module
    *owners, method = path.split(".")
    for step in owners:
        owner = getattr(owner, step)
    return module, owner, method


def _wrapped(original: Any, point: Point, countdown: _Countdown) -> Any:
    """The same function, which passes the point."""

    def pass_by(arguments: tuple[Any, ...], result: Any) -> None:
        if point.counts(arguments, result):
            countdown.pass_by()

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def awaited(*arguments: Any, **named: Any) -> Any:
            if point.when == "before":
                pass_by(arguments, None)
            result = await original(*arguments, **named)
            if point.when == "after":
                pass_by(arguments, result)
            return result

        return awaited

    @functools.wraps(original)
    def called(*arguments: Any, **named: Any) -> Any:
        assert point.when == "before", "what a generator yields comes after its call"
        pass_by(arguments, None)
        return original(*arguments, **named)

    return called


if __name__ == "__main__":
    main()
