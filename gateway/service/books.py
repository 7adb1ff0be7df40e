"""The books of one shard: a script is run until it could judge everything, and its change is as durable as was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from gateway.domain.answer import Told
from gateway.domain.command import Ack, Call
from gateway.domain.errors import (
    Corrupt,
    DurabilityUnknown,
    GatewayError,
    Outcome,
    Overloaded,
    ReservationLost,
    ReservationNotFound,
    ShardRecovering,
)
from gateway.domain.identifier import ReservationId, parse_reservation_id
from gateway.domain.policy import Policy
from gateway.durable.ledger import Ledger
from gateway.flush.deadlines import Deadlines
from gateway.flush.watermark import NotReached, TooManyWaiting, Waiter, Watermark
from gateway.hot.damage import is_garbage
from gateway.hot.gathered import Receiver
from gateway.hot.grouping import Grouping, Result
from gateway.hot.shard import Answer, Shard
from gateway.service.loading import Loader
from gateway.service.preparing import Preparing

ROUNDS_MAX = 2000  # times one request may load, or take back what is due; 64 holds each
UNJUDGED = frozenset({"NOT_LOADED", "MORE_DUE"})  # statuses after which a script is run again


class Absent(Exception):
    """What a script needs is neither in Redis nor in the durable store."""

    def __init__(self, names: set[str]) -> None:
        super().__init__(", ".join(sorted(names)))
        self.names = names


class Books:
    """What the services share: the shard, the ledger, the loader between them, and the watermark."""

    def __init__(
        self,
        shard: Shard,
        ledger: Ledger,
        watermark: Watermark,
        policy: Callable[[], Policy],
        *,
        ack_timeout_ms: int,
        wake_flusher: Callable[[bool], None],
    ) -> None:
        self.shard = shard
        self.ledger = ledger
        self.watermark = watermark
        self.policy = policy
        self.ended_epochs: dict[int, int] = {}
        self._reserves = Grouping(shard, "group")
        self._changes = Grouping(shard, "changes")
        self._tasks: set[asyncio.Task[None]] = set()
        self._loader = Loader(shard, ledger, policy)
        self._ack_timeout_ms = ack_timeout_ms
        self.preparing = Preparing()
        self._deadlines = Deadlines(ack_timeout_ms / 1000)
        self._wake_flusher = wake_flusher

    async def run(self, name: str, keys: tuple[str, ...], arguments: tuple[str, ...], *, within_ms: int = 0) -> Answer:
        """The script's answer once everything it needs was there and nothing due stood in the way.

        Raises Absent for what nobody knows, and what `Shard.run` and `Loader.load` raise.
        """
        for _ in range(ROUNDS_MAX):
            answer = await self.shard.run(name, keys, arguments, within_ms=within_ms)
            if answer.status not in UNJUDGED:
                return answer
            await self._mend(answer.status, answer.fields)
        raise Overloaded("more was due than one request may take back")

    async def reserve(self, text: str) -> list[str]:
        """As `run`, for a reserve that may travel with others of the same moment: its status, then its fields."""
        for _ in range(ROUNDS_MAX):
            result = await self._reserves.ask(text)
            if result[0] not in UNJUDGED:
                return result
            await self._mend(result[0], result[1:])
        raise Overloaded("more was due than one request may take back")

    def begin_reserve(self, text: str, receiver: Receiver[Result]) -> None:
        """As `reserve`, but once: the receiver also gets what was UNJUDGED, and then nothing happened."""
        self._reserves.add(text, receiver)

    def begin_change(self, text: str, random_part: str, receiver: Receiver[Result]) -> None:
        """The same for a confirm, fulfil or release of one reservation."""
        self._changes.add(text, receiver, random_part)

    async def _mend(self, status: str, names: list[str]) -> None:
        """What kept a script from judging is out of the way: what it lacked is loaded. Raises as `load`."""
        if status == "NOT_LOADED":
            await self.load(names)

    async def load(self, names: list[str]) -> None:
        """What a script lacked is in Redis, or may be asked for again. Raises Absent, and what `Loader.load` raises."""
        absent = await self._loader.load(names)
        if absent:
            raise Absent(absent)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """The work is under way, and nobody awaits it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def legible(self, name: str, outcome: Outcome) -> AsyncIterator[None]:
        """What Redis answered of this key is read within. `outcome` is that of the call where it cannot be.

        Raises ShardRecovering where the key holds garbage, for a rebuild mends it; else Corrupt.
        """
        try:
            yield
        except (ValueError, KeyError, IndexError) as problem:
            why = f"what Redis answered of {name} cannot be read: {problem!r}"
            if await is_garbage(self.shard, why, [name]):
                raise ShardRecovering(outcome=outcome) from problem
            raise Corrupt(why) from problem

    def time_left(self, call: Call) -> int:
        """Milliseconds the request may still wait, 0 = no bound of its own. Raises Overloaded when they are over."""
        if not call.deadline_ms:
            return 0
        waited_ms = (self.shard.loop_time() - call.started_s) * 1000
        left_ms = int(call.deadline_ms - waited_ms)
        if left_ms <= 0:
            raise Overloaded("the request waited longer than its Request-Deadline-Ms")
        return left_ms

    async def settle(self, epoch: int, seq: int, ack: Ack, told: Told | None = None) -> bool:
        """Whether the change at (epoch, seq) is committed; with `ack` durable only True is returned.

        Raises DurabilityUnknown when the commit was not seen in time.
        """
        if self.is_settled(epoch, seq, is_awaited=ack == "durable"):
            return True
        if ack == "memory":
            return False
        try:
            await self.watermark.reached(epoch, seq, self._ack_timeout_ms)
        except (NotReached, TooManyWaiting) as problem:
            raise durability_unknown(str(problem), told) from problem
        return True

    def await_commit(self, epoch: int, seq: int, waiter: Waiter) -> None:
        """The waiter is told of the commit of the change at (epoch, seq), or why it can not be seen any more, or was not in time.

        At once where it is committed.
        """
        if self.is_settled(epoch, seq, is_awaited=True):
            waiter.set_result(None)
            return
        self._deadlines.add(waiter)
        if epoch > self.watermark.epoch:  # the shard is open already, the watermark learns of it in a moment
            self.begin(self._reach(epoch, seq, waiter))
            return
        try:
            self.watermark.add(epoch, seq, waiter)
        except (NotReached, TooManyWaiting) as problem:
            waiter.set_exception(problem)

    async def _reach(self, epoch: int, seq: int, waiter: Waiter) -> None:
        try:
            await self.watermark.reached(epoch, seq, self._ack_timeout_ms)
        except (NotReached, TooManyWaiting) as problem:
            if not waiter.done():
                waiter.set_exception(problem)
        else:
            if not waiter.done():
                waiter.set_result(None)

    def is_settled(self, epoch: int, seq: int, *, is_awaited: bool = False) -> bool:
        """Whether the change at (epoch, seq) is committed by now; if not, the flusher knows that there is work."""
        if self.watermark.covers(epoch, seq):
            return True
        self._wake_flusher(is_awaited)
        return False

    def missing(self, id: ReservationId) -> GatewayError:
        """Why there is no reservation of this id: it was never made, or it was lost with Redis."""
        end = self.ended_epochs.get(id.epoch)
        if id.shard == self.shard.number and id.epoch < self.shard.epoch and end is not None and id.seq > end:
            return ReservationLost("the hold was answered with durable: false and lost with Redis", id=str(id))
        return ReservationNotFound(f"there is no reservation {id}")


def durability_unknown(why: str, told: Told | None) -> DurabilityUnknown:
    """The change is applied, its commit was not seen; with the id of the reservation it concerns."""
    detail = f"{why}; the change is applied and will be persisted, or is lost with Redis"
    return DurabilityUnknown(detail) if told is None else DurabilityUnknown(detail, id=told.public_id)


def known_id(text: str) -> ReservationId:
    """The parts of a public id. Raises ReservationNotFound for a text that is none."""
    id = parse_reservation_id(text)
    if id is None:
        raise ReservationNotFound("there is no such reservation")
    return id
