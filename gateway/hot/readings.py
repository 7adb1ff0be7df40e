"""Readings: the skus that are asked for at one moment are read by one call of Redis, and each of them once.

A product that everybody looks at is then read, taken apart and told once per tick of the loop, however many ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from gateway.hot.gathered import GatheredCalls, Receiver
from gateway.hot.shard import Answer, Shard

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
        self._calls = GatheredCalls(shard)

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
        waiting = list(asked.values())
        everybody = [receiver for of_sku in waiting for receiver in of_sku]
        self._calls.send("read_sku", keys, names, everybody, partial(self._deliver, waiting), "not_applied")

    def _deliver(self, waiting: list[list[Receiver[T | None]]], answer: Answer) -> None:
        texts = answer.fields if answer.status == "SKUS" else [None] * len(waiting)
        for text, of_sku in zip(texts, waiting, strict=True):
            told = None if text is None else self._told(text)
            for receiver in of_sku:
                if not receiver.done():
                    receiver.set_result(told)
