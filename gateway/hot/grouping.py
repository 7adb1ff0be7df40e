"""Grouping: the operations of one kind that come at one moment travel in few calls of Redis.

A call that carries many shares its reading of meta, its log entry and its writes of hot levels. A group leaves when it is full or the
loop's tick is over, whichever is first; a full one leaves at once, so that Redis works on it while the rest of the tick is still being
read.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar

from gateway.domain.errors import GatewayError, HotStoreUnavailable
from gateway.hot.shard import Shard, Started

#: Operations in one call. More save little there, and nothing overlaps while they are gathered.
GROUP_MAX = 24
#: The script whose operations know themselves again, whatever others did since: a reserve by its random part.
RECOGNISED = "group"


#: What one operation answered: its status, then its fields.
Result = list[str]


class Resent(Result):
    """A result found after the reply to an earlier attempt was lost, by an operation that does not know itself whoever came between."""


R_contra = TypeVar("R_contra", contravariant=True)


class Receiver(Protocol[R_contra]):
    """Who wants a result: a future, or whoever can do without one. None of the methods may raise."""

    def done(self) -> bool:
        """Whether a result would come too late."""
        ...

    def set_result(self, result: R_contra, /) -> None:
        """The result has come."""
        ...

    def set_exception(self, problem: GatewayError, /) -> None:
        """There is none; the problem is this receiver's own."""
        ...


Waiting = list[tuple[str, Receiver[Result]]]


class Grouping:
    """Gathers the operations of one shard that one script takes many of."""

    def __init__(self, shard: Shard, script: str) -> None:
        self._shard = shard
        self._script = script
        self._loop = asyncio.get_running_loop()
        self._gathered: Waiting = []
        self._names: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, text: str, name: str = "") -> asyncio.Future[Result]:
        """The result of one operation, as its own call would give it. The future raises what `Shard.run` raises."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self.add(text, future, name)
        return future

    def add(self, text: str, receiver: Receiver[Result], name: str = "") -> None:
        """As `ask`; the receiver gets the result or the exception, once, and not before this returns.

        `name` is the reservation that the operation changes. No call names one twice: it may have to be sent again, and then
        an operation recognises what it did by the state it led to.
        """
        gathered = self._gathered
        if name:
            if name in self._names:
                self._leave()
                gathered = self._gathered
            self._names.add(name)
        gathered.append((text, receiver))
        if len(gathered) == 1:
            self._loop.call_soon(self._leave)
        elif len(gathered) == GROUP_MAX:
            self._leave()

    def _leave(self) -> None:
        group, self._gathered = self._gathered, []
        if not group:
            return
        self._names.clear()
        texts = tuple([text for text, _ in group])
        started: Started | None = None
        try:
            started = self._shard.start(self._script, (), texts)
            self._shard.link.flush()
        except Exception:  # noqa: BLE001  # whatever it is, `run` meets it again and tells everybody in the group
            started = None
        task = self._loop.create_task(self._finish(group, texts, started))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, group: Waiting, texts: tuple[str, ...], started: Started | None) -> None:
        try:
            answer = await self._shard.run(self._script, (), texts, started=started)
            results = answer.nested()
            if answer.is_resent and self._script != RECOGNISED:
                results = [Resent(result) for result in results]
            for (_, receiver), result in zip(group, results, strict=True):
                if not receiver.done():
                    receiver.set_result(result)
        except GatewayError as problem:
            for _, receiver in group:
                if not receiver.done():
                    receiver.set_exception(type(problem)(problem.detail, outcome=problem.outcome))
        finally:
            for _, receiver in group:  # whatever else went wrong, nobody is left waiting
                if not receiver.done():
                    receiver.set_exception(HotStoreUnavailable("the call broke off", outcome="unknown"))
