"""Grouping: the operations of one kind that come at one moment travel in few calls of Redis.

A call that carries many shares its reading of meta, its log entry and its writes of hot levels. A group leaves when it is full or the
loop's tick is over, whichever is first; a full one leaves at once, so that Redis works on it while the rest of the tick is still being
read.
"""

from __future__ import annotations

import asyncio
from functools import partial

from gateway.hot.gathered import GatheredCalls, Receiver
from gateway.hot.shard import Answer, Shard

#: Operations in one call. More save little there, and nothing overlaps while they are gathered.
GROUP_MAX = 24
#: The script whose operations know themselves again, whatever others did since: a reserve by its random part.
RECOGNISED = "group"

#: What one operation answered: its status, then its fields.
Result = list[str]


class Resent(Result):
    """A result found after the reply to an earlier attempt was lost, by an operation that does not know itself whoever came between."""


Waiting = list[tuple[str, Receiver[Result]]]


class Grouping:
    """Gathers the operations of one shard that one script takes many of."""

    def __init__(self, shard: Shard, script: str) -> None:
        self._script = script
        self._loop = asyncio.get_running_loop()
        self._gathered: Waiting = []
        self._names: set[str] = set()
        self._calls = GatheredCalls(shard)

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
        texts, receivers = tuple([text for text, _ in group]), [receiver for _, receiver in group]
        self._calls.send(self._script, (), texts, receivers, partial(self._deliver, receivers), "unknown")

    def _deliver(self, receivers: list[Receiver[Result]], answer: Answer) -> None:
        results = answer.nested()
        if answer.is_resent and self._script != RECOGNISED:
            results = [Resent(result) for result in results]
        for receiver, result in zip(receivers, results, strict=True):
            if not receiver.done():
                receiver.set_result(result)
