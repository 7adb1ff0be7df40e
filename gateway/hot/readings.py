"""Readings: the skus that are asked for at one moment are read by one call of Redis, and each of them once.

A product that everybody looks at is then read, taken apart and told once per tick of the loop, however many ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.domain.errors import GatewayError, HotStoreUnavailable
from gateway.hot.grouping import Receiver
from gateway.hot.shard import Shard, Started

#: Skus in one call, as many as one request may ask for.
NAMES_MAX = 100

T = TypeVar("T")


class Readings(Generic[T]):
    """Gathers the readings of one shard. `told` makes of a sku's text what its receivers get; it may not raise."""

    def __init__(self, shard: Shard, told: Callable[[str], T]) -> None:
        self._shard = shard
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._asked: dict[tuple[str, str], list[Receiver[T | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, shop: str, sku: str, receiver: Receiver[T | None]) -> None:
        """The receiver gets the sku, or None where it was not read: something is to be loaded or taken back before.

        Once, and not before this returns; what everybody asks for is one object for all.
        """
        asked = self._asked
        if not asked:
            self._loop.call_soon(self._leave)
        asked.setdefault((shop, sku), []).append(receiver)
        if len(asked) == NAMES_MAX:
            self._leave()

    def _leave(self) -> None:
        asked, self._asked = self._asked, {}
        if not asked:
            return
        names = tuple([f"{shop}/{sku}" for shop, sku in asked])
        keys = tuple([self._shard.keys.sku(shop, sku) for shop, sku in asked])
        started: Started | None = None
        try:
            started = self._shard.start("read_sku", keys, names)
            self._shard.link.flush()
        except Exception:  # noqa: BLE001  # whatever it is, `run` meets it again and tells everybody who asked
            started = None
        task = self._loop.create_task(self._finish(list(asked.values()), keys, names, started))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(
        self,
        receivers: list[list[Receiver[T | None]]],
        keys: tuple[str, ...],
        names: tuple[str, ...],
        started: Started | None,
    ) -> None:
        try:
            answer = await self._shard.run("read_sku", keys, names, started=started)
            texts = answer.fields if answer.status == "SKUS" else [None] * len(names)
            for text, waiting in zip(texts, receivers, strict=True):
                told = None if text is None else self._told(text)
                for receiver in waiting:
                    if not receiver.done():
                        receiver.set_result(told)
        except GatewayError as problem:
            for receiver in _left(receivers):
                receiver.set_exception(type(problem)(problem.detail, outcome=problem.outcome))
        finally:
            for receiver in _left(receivers):  # whatever else went wrong, nobody is left waiting
                receiver.set_exception(HotStoreUnavailable("the call broke off", outcome="not_applied"))


def _left(receivers: list[list[Receiver[T | None]]]) -> list[Receiver[T | None]]:
    return [receiver for waiting in receivers for receiver in waiting if not receiver.done()]
