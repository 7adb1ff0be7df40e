"""The trace of a run: what happened in which order, and its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from tests.simulation.loop import PROCESS, SimulatedLoop

#: Lines of the gateways' logs that tell of a law broken within the product, whatever the faults.
UNEXPECTED = ("handler_failed",)


class Trace:
    """Lines as tuples: time, who, what. They become text only when somebody wants to read them."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.lines: list[tuple[Any, ...]] = []
        self.errors: list[str] = []

    def add(self, *line: Any) -> None:
        """Something has happened."""
        self.lines.append((round(self._loop.time(), 6), *line))

    def digest(self) -> str:
        """What two equal runs have in common."""
        hashed = hashlib.sha256()
        for line in self.lines:
            hashed.update(repr(line).encode())
        return hashed.hexdigest()

    def text(self, first: int = 0, last: int | None = None) -> str:
        """The lines, each cut to what fits on one."""
        return "\n".join(" ".join(str(word) for word in line)[:400] for line in self.lines[first:last])

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Inside, the gateways' log lines are lines of the trace."""
        before = structlog.get_config()
        structlog.configure(
            processors=[self._take], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False
        )
        try:
            yield
        finally:
            structlog.configure(**before)

    def _take(self, _: Any, method: str, told: Any) -> Any:
        process = PROCESS.get()
        event = told.pop("event", "")
        problem = told.pop("exc_info", None)
        if problem:
            import sys

            error = sys.exc_info()[1]
            told["error"] = f"{type(error).__name__}: {error}"
            self.errors.append(f"{event} {told}")
        self.add(process.name if process is not None else "", "log", method, event, sorted(told.items()))
        raise structlog.DropEvent
