"""Random traffic: every operation there is, on few skus and locations, so that they meet."""

from __future__ import annotations

import random
from collections.abc import Sequence

from gateway.domain.answer import ReservationAnswer
from gateway.domain.command import Adjust, BatchCommand, Confirm, Pause, Release, Reserve, Wish
from gateway.domain.errors import Refused
from gateway.domain.identifier import fingerprint
from tests.service.gateway import Gateway

SKUS = ("tee", "mug", "hat")
LOCATIONS = ("main", "outlet")


class Traffic:
    """One seed's worth of callers. `step` is one call; what the books refuse is part of it."""

    def __init__(self, gateway: Gateway, seed: int, *, neighbours: Sequence[Gateway] = ()) -> None:
        """`neighbours` are told when the clock is moved: a server whose clock jumps is another test."""
        self.gateway = gateway
        self.neighbours = neighbours
        self.rng = random.Random(seed)
        self.held: list[ReservationAnswer] = []
        self.applied = 0
        self._count = 0

    async def step(self) -> None:
        """One operation, chosen by chance."""
        rng = self.rng
        self._count += 1
        operations = [self._reserve, self._put, self._adjust, self._pause, self._pass_time, self._batch]
        if self.held:
            operations += [self._end, self._end, self._extend]
        try:
            await rng.choice([self._reserve, *operations])()
            self.applied += 1
        except Refused:
            return

    async def _put(self) -> None:
        rng, safety = self.rng, self.rng.choice([None, 0, 2])
        await self.gateway.put(
            rng.choice(SKUS),
            rng.randint(5, 40),
            location=rng.choice(LOCATIONS),
            source=rng.choice(["erp", "wms"]),
            sequence=self._count,
            safety_stock=safety,
            deduction=rng.choice([None, 1]),
        )

    async def _reserve(self) -> None:
        rng = self.rng
        wishes = [(sku, rng.randint(1, 4)) for sku in rng.sample(SKUS, rng.randint(1, 3))]
        key = f"key-{rng.randint(1, 12)}" if rng.random() < 0.5 else None
        ttl = rng.choice([5, 60, 600])
        meant = fingerprint(f"{wishes}{ttl}".encode())
        self.held.append(await self.gateway.reserve(*wishes, key=key, ttl_seconds=ttl, fingerprint=meant))

    async def _extend(self) -> None:
        await self.gateway.extend(self.rng.choice(self.held), self.rng.choice([10, 300]))

    async def _end(self) -> None:
        rng, held = self.rng, self.rng.choice(self.held)
        ending = rng.randrange(4)
        if ending == 0:
            await self.gateway.confirm(held, reacquire=rng.random() < 0.5, fulfil=rng.random() < 0.3)
        elif ending == 1:
            await self.gateway.fulfil(held)
        elif ending == 2:
            await self.gateway.release(held)
        else:
            line = held.reservation.lines[0]
            await self.gateway.put(
                line.sku,
                rng.randint(0, 30),
                location=line.location,
                sequence=self._count,
                reflects=(str(held.reservation.id),),
            )

    async def _adjust(self) -> None:
        rng = self.rng
        sku, location, delta = rng.choice(SKUS), rng.choice(LOCATIONS), rng.choice([-2, -1, 1, 3])
        meant = fingerprint(f"{sku}{location}{delta}".encode())
        await self.gateway.adjust(sku, delta, f"fix-{rng.randint(1, 20)}", location=location, fingerprint=meant)

    async def _pause(self) -> None:
        rng = self.rng
        command = Pause(rng.choice(SKUS), rng.random() < 0.3, rng.choice(["recall", "damaged"]))
        await self.gateway.stock.pause(command, self.gateway.call("memory"))

    async def _pass_time(self) -> None:
        await self.gateway.advance(self.rng.choice([1000, 20_000]))
        for neighbour in self.neighbours:
            neighbour.shard.learn_clock(self.gateway.shard.now_ms())
        await self.gateway.sweep()

    async def _batch(self) -> None:
        rng = self.rng
        commands: list[BatchCommand] = [
            Reserve([Wish(rng.choice(SKUS), rng.randint(1, 3))], "cart", 60) for _ in range(rng.randint(1, 4))
        ]
        commands.append(Adjust(rng.choice(SKUS), "main", 2, "found", None, f"found-{self._count}", "f"))
        if self.held:
            commands.append(rng.choice([Confirm, Release])(str(rng.choice(self.held).reservation.id)))
        results = await self.gateway.reservations.batch(commands, self.gateway.call("memory"))
        self.held += [result for result in results if isinstance(result, ReservationAnswer) and not result.replayed]
