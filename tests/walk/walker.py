"""One step of a walk: an operation is done by the model and by the scripts, and both must tell the same.

What a script does not find is loaded from what was there when it was evicted, as the service does from the durable store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.domain.reservation import Reservation, parse_reservation
from gateway.domain.totals import Totals
from gateway.hot.operations import parse_shortages, parse_sku
from gateway.hot.shard import Answer
from tests.lua.audit import audit
from tests.lua.warehouse import DAY_MS, POLICY, SHOP, START_MS, Call, Warehouse, content_digest, wish
from tests.walk.model import Model, Short, Wanted

SKUS = ("A", "B", "c/d 100%")
LOCATIONS = ("a", "b")
TIERS = {
    name: (tier.ttl_seconds * 1000, tier.ttl_seconds_max * 1000, tier.lifetime_seconds_max * 1000)
    for name, tier in POLICY.tiers.items()
}

#: Statuses after which a call has had its effect; an extend has it anew each time.
DONE = frozenset(["RESERVED", "REPLAYED", "CONFIRMED", "FULFILLED", "RELEASED", "APPLIED", "UNCHANGED", "ADJUSTED"])

Step = tuple[Call, Callable[[], tuple[str, Any]]]


class Walker:
    """The two sides of a walk. `trail` tells what was done, for the report of a failure."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.model = Model(START_MS, TIERS, DAY_MS)
        self.reservations: dict[str, Reservation] = {}
        self.evicted: dict[str, list[str]] = {}
        self.last: Call | None = None
        self._ids = 0
        self._keys = 0
        self._counts = 0

    async def begin(self) -> None:
        """Every sku is known, none has a level."""
        for sku in SKUS:
            await self.warehouse.create(sku)

    def new_id(self) -> str:
        """A random part that a failing walk repeats."""
        self._ids += 1
        return f"{self._ids:016d}"

    # Operations as pairs: the call, and the same to the model.

    def reserve(self, wanted: list[Wanted], ttl_ms: int, key: str, fingerprint: str, **how: Any) -> Step:
        """A hold."""
        id = self.new_id()
        locations, priority = how.get("locations"), how.get("priority", ())
        call = self.warehouse.reserve(
            *[wish(want.sku, want.quantity, want.location) for want in wanted],
            ttl_ms=ttl_ms,
            key=key,
            fingerprint=fingerprint,
            random_part=id,
            partial=how["partial"],
            locations=None if locations is None else list(locations),
            priority=",".join(priority),
        )
        return call, lambda: self.model.reserve(id, wanted, ttl_ms, key=key, fingerprint=fingerprint, **how)

    def extend(self, id: str, tier: str | None, ttl_seconds: int | None) -> Step:
        """Another deadline."""
        ttl_ms = None if ttl_seconds is None else ttl_seconds * 1000
        call = self.warehouse.extend(self.reservations[id], tier=tier, ttl_seconds=ttl_seconds)
        return call, lambda: self.model.extend(id, tier, ttl_ms)

    def confirm(self, id: str, *, reacquire: bool, fulfil: bool) -> Step:
        """A sale."""
        call = self.warehouse.confirm(self.reservations[id], reacquire=reacquire, fulfil=fulfil)
        return call, lambda: self.model.confirm(id, reacquire=reacquire, fulfil=fulfil)

    def fulfil(self, id: str) -> Step:
        """The units leave."""
        return self.warehouse.fulfil(self.reservations[id]), lambda: self.model.fulfil(id)

    def release(self, id: str) -> Step:
        """The units come back."""
        return self.warehouse.release(self.reservations[id]), lambda: self.model.release(id)

    def put(
        self,
        sku: str,
        location: str,
        source: str,
        sequence: int,
        numbers: tuple[int | None, int | None, int | None],
        ids: list[str],
    ) -> Step:
        """A count or a setting."""
        on_hand, deduction, safety = numbers
        reflects = tuple(ids) if on_hand is not None else ()
        content = content_digest(numbers, reflects)
        call = self.warehouse.put(
            sku,
            location,
            on_hand,
            source=source,
            sequence=sequence,
            deduction=deduction,
            safety_stock=safety,
            reflects=[self.reservations[id].id for id in reflects],
            content=content,
        )
        return call, lambda: self.model.put(
            sku, location, source, sequence, on_hand, deduction, safety, reflects, content
        )

    def adjust(self, sku: str, location: str, delta: int, key: str, fingerprint: str) -> Step:
        """A difference."""
        if not key:
            self._keys += 1
            key = f"own-{self._keys}"
        call = self.warehouse.adjust(sku, delta, location, key=f"adjust {key}", fingerprint=fingerprint)
        return call, lambda: self.model.adjust(sku, location, delta, key, fingerprint)

    def pause(self, sku: str, paused: bool, reason: str) -> Step:
        """Off sale, or back."""
        return self.warehouse.pause(sku, paused, reason), lambda: self.model.pause(sku, paused, reason)

    async def age(self, events: int) -> None:
        """So many changes that come to nothing lie behind the shard, an even number: a walk then crosses a thousandth seq.

        Their records are forgotten by now.
        """
        if events:
            await self.batch([self.adjust("A", "a", 1 - 2 * (number % 2), "", "f1") for number in range(events)])
            base = self.warehouse.keys.base
            records = [key for key in await self.warehouse.all_keys() if key.startswith(f"{base}q:")]
            await self.warehouse.call("DEL", *records)

    # Doing them

    async def run(self, call: Call) -> Answer:
        """The answer once everything was loaded."""
        for _ in range(20):
            answer = await self.warehouse.run(call)
            if answer.status == "NOT_LOADED":
                for name in answer.fields:
                    texts = self.evicted.pop(name)
                    assert await self.warehouse.install(name, texts, ttl_ms=600_000) == "LOADED", name
            elif answer.status != "MORE_DUE":
                return answer
        raise AssertionError(f"{call.script} is never satisfied")

    async def step(self, step: Step) -> None:
        """One operation on both sides."""
        call, expect = step
        answer = await self.run(call)
        self._compare(call, answer.status, answer.fields, expect())
        self.last = call if answer.status in DONE else None

    async def reflect_one(self, pick: int, on_hand: int) -> None:
        """A count of one level that contains one sale's units no more; nothing when nothing is sold."""
        sold = [
            (id, line)
            for id, booking in self.model.bookings.items()
            if booking.state == "confirmed"
            for line in booking.lines
        ]
        if sold:
            id, line = sold[pick % len(sold)]
            self._counts += 1
            await self.step(self.put(line.sku, line.location, "count", self._counts, (on_hand, None, None), [id]))

    async def batch(self, steps: list[Step]) -> None:
        """The operations as one unit of work; the model does them one after the other."""
        self.last = None
        answer = await self.run(self.warehouse.as_batch(*[call for call, _ in steps]))
        assert answer.status == "BATCH"
        assert len(answer.fields) == len(steps)
        for (call, expect), (status, *fields) in zip(steps, answer.fields, strict=True):
            self._compare(call, status, fields, expect())

    async def repeat(self) -> None:
        """What was done last arrives again, as after a lost answer: it is recognised, and has no second effect."""
        if self.last is None:
            return
        before = (await self.warehouse.remember())[-1].seq
        answer = await self.run(self.last)
        events = [event.type for event in await self.warehouse.remember() if event.seq > before]
        assert answer.status in DONE
        assert set(events) <= {"stock.expired"}

    async def advance(self, ms: int) -> None:
        """The clock of both sides moves."""
        await self.warehouse.advance(ms)
        self.model.now += ms

    async def sweep(self, holds_max: int) -> None:
        """The sweeper's turn: no operation of the model, which has no need of one."""
        answer = await self.run(Call("expire", (), (str(holds_max),)))
        open_until = [b.deadline for b in self.model.bookings.values() if b.state_at(self.model.now) == "held"]
        if int(answer.fields[0]) < holds_max:
            assert int(answer.fields[2]) == min(open_until, default=0)

    async def flush_and_evict(self, evict: bool) -> None:
        """The durable store has everything; with `evict` whatever got a life has reached its end."""
        await self.warehouse.settle(retention_ms=1_000_000_000_000)  # lives run by the server's clock, not by ours
        self.last = None  # what is evicted is not recognised by its own key; LATE keeps such a call out
        for key in await self.warehouse.all_keys() if evict else []:
            name = key.removeprefix(self.warehouse.keys.base)
            if name[:2] not in ("s:", "r:") or int(await self.warehouse.call("PTTL", key)) == -1:
                continue
            content = await self.warehouse.content(key)
            self.evicted[name] = (
                [content] if isinstance(content, str) else [text for row in content.items() for text in row]
            )
            await self.warehouse.call("DEL", key)

    async def check(self) -> None:
        """Levels, their totals and reservations are what the model says, and every law of the audit holds."""
        summed = [0] * 5
        for sku in SKUS:
            answer = await self.run(self.warehouse.read_sku(sku))
            found = parse_sku(answer.fields[0])
            counters = {
                name: (level.on_hand, level.held, level.committed, level.deducted, level.safety_stock)
                for name, level in found.levels.items()
            }
            assert counters == self.model.counters(sku)
            summed = [sum(column) for column in zip(summed, *counters.values(), strict=True)]
            assert (found.paused, found.reason) == (sku in self.model.paused, self.model.paused.get(sku, ""))
        on_hand, held, committed, deducted, _ = summed
        assert await self.warehouse.totals() == Totals(held, on_hand, committed, deducted)
        for id in self.model.bookings:
            answer = await self.run(self.warehouse.read_reservation(self.reservations[id].id))
            self._same(id, answer.fields[1])
        await audit(self.warehouse)

    # Comparing

    def _compare(self, call: Call, status: str, fields: list[str], expected: tuple[str, Any]) -> None:
        told, numbers = expected
        assert status == told, (call.script, call.text, status, fields, expected)
        if call.script == "reserve" and status in ("RESERVED", "REPLAYED"):
            id, short = numbers
            assert fields[0] == id
            self._same(id, fields[1])
            if short is not None:
                assert self._shorts(fields[2]) == short, call.text
        elif status == "OUT_OF_STOCK":
            assert self._shorts(fields[0]) == numbers, call.text
        elif status in ("EXTENDED", "FULFILLED", "RELEASED", "STATE"):
            self._same(numbers, fields[1])
        elif status == "CONFIRMED":
            self._same(numbers[0], fields[1])
            assert fields[2] == str(int(numbers[1]))
        elif status == "EXTENSION_LIMIT":
            assert int(fields[1]) == numbers
        elif status == "TTL_TOO_LONG":
            assert (fields[0], int(fields[1])) == numbers
        elif status in ("STALE", "INSUFFICIENT", "TOO_LARGE"):
            assert int(fields[0]) == numbers
        elif status in ("UNKNOWN_SKU", "NOT_CONFIRMED"):
            assert fields == numbers

    @staticmethod
    def _shorts(text: str) -> list[Short]:
        return [
            Short(s.sku, s.location, s.requested, s.available, s.reason, s.next_release_ms)
            for s in parse_shortages(text)
        ]

    def _same(self, id: str, text: str) -> None:
        """The reservation that a script tells is the model's."""
        r = parse_reservation(0, id, text)
        self.reservations[id] = r
        booking, now = self.model.bookings[id], self.model.now
        state = booking.state_at(now)
        ended = booking.deadline if state == "expired" else booking.ended
        assert (r.state, r.deadline_ms, r.created_ms) == (state, booking.deadline, booking.created), text
        assert (r.tier, r.shop, r.confirmed_ms, r.ended_ms) == (booking.tier, SHOP, booking.confirmed, ended), text
        assert [(line.sku, line.location, line.quantity, line.settled) for line in r.lines] == [
            (line.sku, line.location, line.quantity, line.settled) for line in booking.lines
        ]
