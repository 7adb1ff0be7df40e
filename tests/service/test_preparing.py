"""Preparing: everybody prepares in time, and many do not keep the loop from anybody else."""

from __future__ import annotations

import asyncio

from gateway.service.preparing import PREPARED_BETWEEN_YIELDS, Preparing


class Chef:
    """Knows in which order chefs were done."""

    def __init__(self, done: list[Chef]) -> None:
        self._done = done
        self.is_done = asyncio.Event()

    def prepare(self) -> None:
        """It is done."""
        self._done.append(self)
        self.is_done.set()


async def test_preparing_of_many_is_in_turns_and_in_order() -> None:
    """After every hundred others have their turn; who comes in the middle is prepared behind the rest, and nobody twice."""
    preparing, done = Preparing(), list[Chef]()
    chefs = [Chef(done) for _ in range(3 * PREPARED_BETWEEN_YIELDS + 5)]
    for chef in chefs:
        preparing.add(chef)
    await chefs[0].is_done.wait()
    assert len(done) < len(chefs)

    late = Chef(done)
    preparing.add(late)
    await late.is_done.wait()

    assert done == [*chefs, late]


async def test_preparing_begins_anew_when_all_are_done() -> None:
    """Who comes after the last one is not forgotten."""
    preparing, done = Preparing(), list[Chef]()
    chefs = [Chef(done) for _ in range(3)]
    for chef in chefs:
        preparing.add(chef)
        await chef.is_done.wait()

    assert done == chefs
