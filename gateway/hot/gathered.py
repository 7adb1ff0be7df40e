"""A gathered call: what was asked for at one moment travels in one call, and everybody who asked is told how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from gateway.domain.errors import GatewayError, HotStoreUnavailable, Outcome
from gateway.hot.shard import Answer, Shard, Started

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


class GatheredCalls:
    """The calls of one shard that are under way for several receivers each."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._tasks: set[asyncio.Task[None]] = set()

    def send(
        self,
        script: str,
        keys: tuple[str, ...],
        arguments: tuple[str, ...],
        receivers: Sequence[Receiver[Any]],
        deliver: Callable[[Answer], None],
        broken_off: Outcome,
    ) -> None:
        """The call leaves at once. `deliver` gives its answer to the receivers; whoever is left without is told a problem.

        `broken_off` is the outcome where nobody knows how the call ended.
        """
        started: Started | None = None
        try:
            started = self._shard.start(script, keys, arguments)
            self._shard.link.flush()
        except Exception:  # noqa: BLE001  # whatever it is, `run` meets it again and everybody is told
            started = None
        ending = self._finish(script, keys, arguments, started, receivers, deliver, broken_off)
        task = asyncio.get_running_loop().create_task(ending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(
        self,
        script: str,
        keys: tuple[str, ...],
        arguments: tuple[str, ...],
        started: Started | None,
        receivers: Sequence[Receiver[Any]],
        deliver: Callable[[Answer], None],
        broken_off: Outcome,
    ) -> None:
        try:
            deliver(await self._shard.run(script, keys, arguments, started=started))
        except GatewayError as problem:
            for receiver in receivers:
                if not receiver.done():
                    receiver.set_exception(type(problem)(problem.detail, outcome=problem.outcome))
        finally:
            for receiver in receivers:  # whatever else went wrong, nobody is left waiting
                if not receiver.done():
                    receiver.set_exception(HotStoreUnavailable("the call broke off", outcome=broken_off))
