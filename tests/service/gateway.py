"""A whole gateway in this process, on real servers, whose jobs turn only when a test says so.

It is the engine of `gateway serve` without HTTP: connection, shard, opener, flusher and services are the real ones. What a test
needs beside them is a clock to move, a crash, and words for the calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from gateway.app.engine import Engine
from gateway.app.premises import Premises
from gateway.domain.answer import LevelAnswer, ReservationAnswer, SkuAnswer
from gateway.domain.command import Ack, Adjust, Call, Confirm, Extend, Fulfil, Pause, PutLevel, Release, Reserve, Wish
from gateway.domain.stock import Level
from gateway.durable.ledger import Ledger
from gateway.flush.flusher import Flusher
from gateway.flush.watermark import Watermark
from gateway.hot.connection import SocketLink
from gateway.hot.shard import Shard
from gateway.loop import Job
from gateway.service.books import Books
from gateway.service.opening import Opener
from gateway.service.pacing import Pace
from gateway.service.sweeping import Sweeper
from tests.service.stores import GivenPremises, Stores

SHOP = "main"
POLL_S = 0.02  # the flusher of a gateway that flushes by itself looks for work so often, as it does in a process


class Gateway(Engine):
    """One gateway. With `is_flushing` its flusher turns by itself, at once when somebody waits; else only in `flush`."""

    def __init__(self, stores: Stores, *, is_flushing: bool) -> None:
        settings = stores.settings()
        super().__init__(settings, cast("Premises", GivenPremises(stores)), lambda: settings)
        self.is_flushing = is_flushing
        self._turning = asyncio.Lock()

    async def __aenter__(self) -> Gateway:
        await super().__aenter__()
        return self

    # The rooms of the engine, by name.

    @property
    def shard(self) -> Shard:
        return self._shard

    @property
    def ledger(self) -> Ledger:
        return self._ledger

    @property
    def link(self) -> SocketLink:
        return cast("SocketLink", self._link)

    @property
    def flusher(self) -> Flusher:
        return self._flusher

    @property
    def watermark(self) -> Watermark:
        return self._watermark

    @property
    def opener(self) -> Opener:
        return self._opener

    @property
    def books(self) -> Books:
        return self._books

    def _start_jobs(self) -> None:
        self._flush_job = Job("flusher", self._turn_alone, pause_seconds=POLL_S)
        self._jobs = [self._flush_job]
        if self.is_flushing:
            self._tasks = [asyncio.create_task(self._flush_job.run())]
        self._sweeper = Sweeper(self._books, self._settings.expiry.batch_max)
        # The link looks by the clock whether its server is still the one it was: not between two steps of a test.
        next(task for task in self.link._tasks if task.get_name() == "redis-watch").cancel()

    # What the jobs of a process do, one turn at a time.

    async def turn(self) -> int:
        """One turn of the flusher, which does not rest before it."""
        async with self._turning:
            self._flusher._rest_until = 0.0
            return await self._flusher.step()

    async def _turn_alone(self) -> int:
        """One turn by the job, not while the test has one made: in a process nobody else makes any."""
        async with self._turning:
            return await self._flusher.step()

    async def flush(self) -> None:
        """What is in the log is committed and settled, and so is what a dead process left."""
        while await self.turn() or self._flusher._scan_cursor is not None:
            pass

    async def until_awaited(self) -> None:
        """Somebody waits for a commit."""
        async with asyncio.timeout(10):
            while not self._watermark.is_awaited():  # noqa: ASYNC110 - the watermark tells nobody who waits
                await asyncio.sleep(0)

    async def sweep(self) -> int:
        """One turn of the sweeper."""
        return await self._sweeper.step()

    async def keep(self) -> int:
        """One turn of the keeper, long after the last: a closed shard is opened again."""
        self._opener.pace = Pace()
        return await self._keeper.step()

    async def look(self) -> int:
        """One turn of the posture: what the Redis is like now."""
        return await self._posture.step()

    async def reopen(self) -> None:
        """As a process that starts: opened by the row, flusher and watermark follow."""
        self._opener.pace = Pace()
        await self._keeper.open()

    async def kill(self) -> None:
        """It ended as by a crash: nothing is flushed any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self._jobs = [], []
        await self._stop()

    # Redis as anybody beside the gateway sees it.

    async def redis(self, *arguments: str | int) -> Any:
        """The reply of a plain command."""
        return await self._link.call(*arguments)

    async def keys(self, pattern: str = "*") -> list[str]:
        """The names that match, sorted."""
        return sorted(await self.redis("KEYS", pattern))

    async def clock_ms(self) -> int:
        """What Redis' clock says now."""
        seconds, micros = await self.redis("TIME")
        clock = await self.redis("HGET", self.shard.keys.meta, "clock")
        return max(int(seconds) * 1000 + int(micros) // 1000, int(clock))

    async def advance(self, ms: int) -> None:
        """`ms` have passed for the shard: its clock never runs backwards, so it stays there until the world has caught up."""
        now_ms = await self.clock_ms() + ms
        await self.redis("HSET", self.shard.keys.meta, "clock", now_ms)
        self.shard.learn_clock(now_ms)

    async def log_entries(self, after: str = "-") -> list[tuple[str, list[str]]]:
        """The entries of the log, as Redis has them."""
        return [(id, fields) for id, fields in await self.redis("XRANGE", self.shard.keys.log, after, "+")]

    # Calls.

    def call(self, ack: Ack | None = None, shop: str = SHOP) -> Call:
        """The circumstances of a request."""
        return Call(shop, "key:test", ack)

    async def put(
        self,
        sku: str,
        on_hand: int | None = None,
        *,
        location: str = "main",
        sequence: int = 1,
        source: str = "erp",
        safety_stock: int | None = None,
        deduction: int | None = None,
        reflects: tuple[str, ...] = (),
        ack: Ack = "memory",
    ) -> LevelAnswer:
        """What a source tells."""
        command = PutLevel(sku, location, source, sequence, on_hand, deduction, safety_stock, reflects)
        return await self.stock.put_level(command, self.call(ack))

    async def reserve(
        self,
        *wishes: tuple[str, int] | tuple[str, int, str],
        key: str | None = None,
        ttl_seconds: int | None = None,
        ack: Ack = "memory",
        fingerprint: str = "f1",
        tier: str = "cart",
        reference: str | None = None,
    ) -> ReservationAnswer:
        """A hold."""
        command = Reserve(
            [Wish(*wish) for wish in wishes],
            tier,
            ttl_seconds,
            reference=reference,
            idempotency_key=key,
            fingerprint=fingerprint,
        )
        return await self.reservations.reserve(command, self.call(ack))

    async def confirm(
        self, held: ReservationAnswer, *, reacquire: bool = False, fulfil: bool = False, ack: Ack = "memory"
    ) -> ReservationAnswer:
        """A sale."""
        command = Confirm(str(held.reservation.id), "reacquire" if reacquire else "reject", fulfil)
        return await self.reservations.confirm(command, self.call(ack))

    async def fulfil(self, held: ReservationAnswer, *, ack: Ack = "memory") -> ReservationAnswer:
        """The units leave."""
        return await self.reservations.fulfil(Fulfil(str(held.reservation.id)), self.call(ack))

    async def release(self, held: ReservationAnswer, *, ack: Ack = "memory") -> ReservationAnswer:
        """The units come back."""
        return await self.reservations.release(Release(str(held.reservation.id)), self.call(ack))

    async def extend(self, held: ReservationAnswer, ttl_seconds: int, *, ack: Ack = "memory") -> ReservationAnswer:
        """A later deadline."""
        return await self.reservations.extend(Extend(str(held.reservation.id), None, ttl_seconds), self.call(ack))

    async def adjust(
        self, sku: str, delta: int, key: str, *, location: str = "main", ack: Ack = "memory", fingerprint: str = "a1"
    ) -> LevelAnswer:
        """A correction."""
        return await self.stock.adjust(
            Adjust(sku, location, delta, "correction", None, key, fingerprint), self.call(ack)
        )

    async def pause(self, sku: str, reason: str = "recall", *, ack: Ack = "memory") -> SkuAnswer:
        """Off sale."""
        return await self.stock.pause(Pause(sku, True, reason), self.call(ack))

    async def read(self, held: ReservationAnswer) -> ReservationAnswer:
        """The reservation as it is now."""
        return await self.reservations.read(str(held.reservation.id), self.call())

    async def level(self, sku: str, location: str = "main") -> Level:
        """The level as Redis has it."""
        return (await self.stock.read(sku, self.call())).sku.levels[location]

    async def violations(self) -> list[str]:
        """What the conservation check finds: 'invariant kind where', in its order."""
        found = await self.operations.conservation()
        return [f"{one['invariant']} {one['kind']} {one['where']}" for one in found.violations]


async def lost_connection(link: SocketLink) -> None:
    """The connection that just broke is noticed, and there is a new one."""
    wire = link._wire
    if wire is not None:
        await wire.lost
        await asyncio.sleep(0)  # its keeper takes note
    assert await link.wait_connected(30)


@asynccontextmanager
async def running(stores: Stores, *, is_flushing: bool = True, is_drained: bool = True) -> AsyncIterator[Gateway]:
    """A gateway that has opened its shard; at the end it is stopped as a process that drains, or killed, as after a failure."""
    async with Gateway(stores, is_flushing=is_flushing) as gateway:
        try:
            yield gateway
        except BaseException:
            await gateway.kill()
            raise
        if not is_drained:
            await gateway.kill()
