"""Preparing: everybody prepares in time, and many do not keep the loop from anybody else."""

from __future__ import annotations

import asyncio

from gateway.service.preparing import PREPARED_BETWEEN_YIELDS, Preparing


class Chef:
    """Counts in a list that many share."""

    def __init__(self, done: list[int], number: int) -> None:
        self._done = done
        self._number = number

    def prepare(self) -> None:
        """It is done."""
        self._done.append(self._number)


async def test_preparing_of_many_is_in_turns_and_in_order() -> None:
    """After every hundred others have their turn; who comes in the middle is prepared behind the rest, and nobody twice."""
    preparing, done, seen = Preparing(), list[int](), list[int]()
    count = 3 * PREPARED_BETWEEN_YIELDS + 5
    for number in range(count):
        preparing.add(Chef(done, number))
    while not done:
        await asyncio.sleep(0)

    preparing.add(Chef(done, count))
    while len(done) <= count:
        seen.append(len(done))
        await asyncio.sleep(0)

    assert done == list(range(count + 1))
    assert {PREPARED_BETWEEN_YIELDS * turn for turn in (1, 2, 3)} <= set(seen)


async def test_preparing_begins_anew_when_all_are_done() -> None:
    """Who comes after the last one is not forgotten."""
    preparing, done = Preparing(), list[int]()
    for number in range(3):
        preparing.add(Chef(done, number))
        while len(done) <= number:
            await asyncio.sleep(0.001)

    assert done == [0, 1, 2]
