"""The watermark: up to where the durable store has committed a shard, and who waits for it to rise.

Positions are compared as (epoch, seq): a seq of an ended epoch counts as committed only up to where that epoch ended.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import Protocol

WAITERS_MAX = 100_000


class NotReached(Exception):
    """The commit was not seen in time, or the epoch ended before it."""


class TooManyWaiting(Exception):
    """As many requests as allowed wait for a commit already."""


class Waiter(Protocol):
    """Who waits for a commit: a future, or whoever can do without one. None of the methods may raise."""

    def done(self) -> bool:
        """Whether being told would come too late."""
        ...

    def set_result(self, result: None, /) -> None:
        """The commit is there."""
        ...

    def set_exception(self, problem: NotReached | TooManyWaiting, /) -> None:
        """It can not come any more."""
        ...


class Watermark:
    """What is committed of one shard. Belongs to one event loop."""

    def __init__(self) -> None:
        self.epoch = 0
        self.seq = 0
        self._ends: dict[int, int] = {}
        self._moved = asyncio.Event()  # set when the next epoch, or the same one anew, has become known
        self._order = count()
        self._waiting: list[tuple[int, int, Waiter]] = []

    def covers(self, epoch: int, seq: int) -> bool:
        """Whether the change at this position is committed."""
        if epoch == self.epoch:
            return seq <= self.seq
        return seq <= self._ends.get(epoch, self.seq if epoch < self.epoch else -1)

    def is_awaited(self) -> bool:
        """Whether anybody waits for a commit."""
        return bool(self._waiting)

    def open_under(self, epoch: int, seq: int, ends: dict[int, int]) -> None:
        """The shard works under `epoch`, committed up to `seq`; `ends` tells where each epoch before ended."""
        self._moved.set()
        self._moved = asyncio.Event()
        if epoch == self.epoch:
            self._ends = dict(ends)
            self.rise(seq)
            return
        old_epoch, self.epoch, self.seq, self._ends = self.epoch, epoch, seq, dict(ends)
        waiting, self._waiting = self._waiting, []
        for waited_seq, _, waiter in waiting:
            if waiter.done():
                continue
            if self.covers(old_epoch, waited_seq):
                waiter.set_result(None)
            else:
                waiter.set_exception(NotReached("the epoch ended before the commit"))

    def rise(self, seq: int) -> None:
        """The durable store has committed up to `seq` under the current epoch."""
        if seq <= self.seq:
            return
        self.seq = seq
        waiting = self._waiting
        while waiting and waiting[0][0] <= seq:
            waiter = heapq.heappop(waiting)[2]
            if not waiter.done():
                waiter.set_result(None)

    def add(self, epoch: int, seq: int, waiter: Waiter) -> None:
        """The waiter is told when the position is committed, or can not be any more; not before this returns.

        Nobody takes it away when its time is over: it is `done` then. Raises NotReached for an epoch that is not the current
        one, TooManyWaiting.
        """
        if epoch != self.epoch:
            raise NotReached("the epoch is over")
        if len(self._waiting) >= WAITERS_MAX:
            raise TooManyWaiting(f"{WAITERS_MAX} requests wait for a commit")
        heapq.heappush(self._waiting, (seq, next(self._order), waiter))

    async def reached(self, epoch: int, seq: int, timeout_ms: int) -> None:
        """Return once the position is committed.

        Raises NotReached after the timeout, or when its epoch is over; TooManyWaiting.
        """
        while epoch > self.epoch:  # the shard is open already, the watermark learns of it in a moment
            try:
                async with asyncio.timeout(timeout_ms / 1000):
                    await self._moved.wait()
            except TimeoutError as late:
                raise NotReached("the epoch did not become known in time") from late
        if self.covers(epoch, seq):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.add(epoch, seq, future)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await future
        except TimeoutError as late:
            raise NotReached("the commit was not seen in time") from late
