"""Services in memory, enough of the real ones' behaviour to see every answer of the contract over HTTP.

They remember the commands and calls they were given, and answer what a test puts into `failures` instead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from gateway import metrics
from gateway.domain import errors as e
from gateway.domain.answer import (
    BatchResult,
    Conservation,
    ImportRow,
    LevelAnswer,
    Readiness,
    ReservationAnswer,
    ReservationPage,
    Shortage,
    SkuAnswer,
    StockPage,
)
from gateway.domain.command import (
    Adjust,
    BatchCommand,
    Call,
    Confirm,
    Extend,
    Fulfil,
    Pause,
    PutLevel,
    Release,
    Reserve,
)
from gateway.domain.identifier import Position, ReservationId, mint_random_part
from gateway.domain.policy import Policy, Tier
from gateway.domain.repair import Adopt, HumanTask, Plan, Repair, Step
from gateway.domain.reservation import CONFIRMED, EXPIRED, FULFILLED, HELD, RELEASED, Line, Reservation
from gateway.domain.stock import Level, Sku, SourceEntry
from gateway.service.port import Ended, Expect, SkuRead

POLICY = Policy(
    {
        "cart": Tier("cart", 300, 900, 3600),
        "checkout": Tier("checkout", 1800, 3600, 7200),
    },
    retention_seconds=86_400,
    idle_ttl_seconds=3_600,
    ended_ttl_seconds=600,
)
START_MS = 1_795_255_200_000  # 2026-11-21T10:00:00.000Z


T = TypeVar("T")


@dataclass
class Books:
    """Everything the fake services know."""

    now_ms: int = START_MS
    seq: int = 0
    skus: dict[tuple[str, str], Sku] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    keys: dict[tuple[str, str, str], tuple[str, Any]] = field(default_factory=dict)
    #: Raised by the next calls, one each; None lets a call through.
    failures: deque[BaseException | None] = field(default_factory=deque)
    #: What the next operations of batches come to, one each.
    failures_of_operations: deque[e.GatewayError] = field(default_factory=deque)
    seen: list[tuple[Any, Call]] = field(default_factory=list)
    is_ready: bool = True

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def begin(self, command: Any, call: Call) -> None:
        """A call has come in: it is remembered, and fails if it should."""
        self.seen.append((command, call))
        if self.failures and (failure := self.failures.popleft()) is not None:
            raise failure

    def put(self, sku: str, location: str = "main", on_hand: int = 0, shop: str = "main") -> Level:
        """A level stands in the books."""
        level = self.level(shop, sku, location)
        level.on_hand = on_hand
        return level

    def level(self, shop: str, sku: str, location: str) -> Level:
        entry = self.skus.setdefault((shop, sku), Sku(shop, sku, False, "", {}))
        seq = self.next_seq()
        if location not in entry.levels:
            entry.levels[location] = Level(location, 0, 0, 0, 0, 0, 0, 1, seq, self.now_ms)
        level = entry.levels[location]
        level.version, level.seq, level.updated_ms = level.version + 1, seq, self.now_ms
        return level


class ShortWay:
    """Takes every second call of a service, so that all tests see both ways."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._is_next = False

    def begin(self, work: Callable[[], T], ended: Callable[[T | e.GatewayError | None], None]) -> bool:
        """Whether the call is under way; `ended` is told what came of the work, later and once."""
        failures = self._books.failures
        self._is_next = not self._is_next
        if not self._is_next or (failures and not isinstance(failures[0], e.GatewayError | None)):
            return False
        outcome: T | e.GatewayError
        try:
            outcome = work()
        except e.GatewayError as refusal:
            outcome = refusal
        asyncio.get_running_loop().call_soon(ended, outcome)
        return True


class FakeReservations:
    """Reservations, one level after the other."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.short_way = ShortWay(books)

    async def reserve(self, command: Reserve, call: Call) -> ReservationAnswer:
        self.books.begin(command, call)
        return self._reserve(command, call)

    def begin_reserve(self, command: Reserve, call: Call, ended: Ended, expect: Expect) -> bool:
        """Every second one takes the short way."""

        def work() -> ReservationAnswer:
            self.books.begin(command, call)
            return self._reserve(command, call)

        return self.short_way.begin(work, ended)

    def begin_change(self, command: Confirm | Fulfil | Release, call: Call, ended: Ended, expect: Expect) -> bool:
        """The same for a change."""

        def work() -> ReservationAnswer:
            self.books.begin(command, call)
            match command:
                case Confirm():
                    return self._confirm(command, call)
                case Fulfil():
                    return self._fulfil(command, call)
                case Release():
                    return self._release(command, call)

        return self.short_way.begin(work, ended)

    def _reserve(self, command: Reserve, call: Call) -> ReservationAnswer:
        books = self.books
        record = (call.shop, "reserve", command.idempotency_key or "")
        if command.idempotency_key and record in books.keys:
            told, first = books.keys[record]
            if told != command.fingerprint:
                raise e.IdempotencyKeyReused
            return ReservationAnswer(books.reservations[first], durable=True, replayed=True)
        unknown = sorted({w.sku for w in command.lines if (call.shop, w.sku) not in books.skus})
        if unknown:
            raise e.UnknownSku(skus=unknown)
        lines, shortages = [], []
        for wish in command.lines:
            entry = books.skus[call.shop, wish.sku]
            level = entry.levels.get(wish.location or min(entry.levels))
            available = max(0, level.available) if level and not entry.paused else 0
            given = min(wish.quantity, available) if command.allow_partial else wish.quantity
            if available < wish.quantity:
                next_ms = books.now_ms + 300_000 if level and level.held else None
                reason = "paused" if entry.paused else "held" if level and level.held else "sold_out"
                shortages.append(Shortage(wish.sku, wish.location, wish.quantity, available, reason, next_ms))
            if level and given:
                lines.append(Line(wish.sku, level.location, given))
        if not lines or (shortages and not command.allow_partial):
            raise e.OutOfStock(shortages=shortages)
        for line in lines:
            books.skus[call.shop, line.sku].levels[line.location].held += line.quantity
        ttl_ms = (command.ttl_seconds or POLICY.tiers[command.tier].ttl_seconds) * 1000
        seq = books.next_seq()
        reservation = Reservation(
            ReservationId(0, 1, seq, mint_random_part()),
            HELD,
            books.now_ms + ttl_ms,
            1,
            seq,
            books.now_ms,
            None,
            None,
            call.shop,
            command.tier,
            command.reference or "",
            command.customer or "",
            command.channel or "",
            "",
            lines,
        )
        books.reservations[str(reservation.id)] = reservation
        if command.idempotency_key:
            books.keys[record] = (command.fingerprint, str(reservation.id))
        return ReservationAnswer(reservation, call.ack == "durable", shortages=shortages)

    def _find(self, reservation_id: str, call: Call) -> Reservation:
        found = self.books.reservations.get(reservation_id)
        if found is None or found.shop != call.shop:
            raise e.ReservationNotFound
        if found.state == HELD and self.books.now_ms >= found.deadline_ms:
            found.state, found.ended_ms = EXPIRED, found.deadline_ms
            self._give_back(found)
        return found

    def _give_back(self, found: Reservation) -> None:
        for line in found.lines:
            self.books.skus[found.shop, line.sku].levels[line.location].held -= line.quantity

    async def read(self, reservation_id: str, call: Call) -> ReservationAnswer:
        self.books.begin(reservation_id, call)
        return ReservationAnswer(self._find(reservation_id, call), durable=True)

    async def extend(self, command: Extend, call: Call) -> ReservationAnswer:
        self.books.begin(command, call)
        return self._extend(command, call)

    def _extend(self, command: Extend, call: Call) -> ReservationAnswer:
        found = self._find(command.id, call)
        if found.state != HELD:
            raise _ENDED[found.state]
        tier = POLICY.tiers[command.tier or found.tier]
        deadline_ms = self.books.now_ms + 1000 * (command.ttl_seconds or tier.ttl_seconds)
        if deadline_ms > found.created_ms + 1000 * tier.lifetime_seconds_max:
            raise e.ExtensionLimit
        found.tier, found.deadline_ms, found.seq = tier.name, deadline_ms, self.books.next_seq()
        return ReservationAnswer(found, durable=True)

    async def confirm(self, command: Confirm, call: Call) -> ReservationAnswer:
        self.books.begin(command, call)
        return self._confirm(command, call)

    def _confirm(self, command: Confirm, call: Call) -> ReservationAnswer:
        found = self._find(command.id, call)
        is_back = found.state == EXPIRED and command.if_expired == "reacquire"
        if found.state in (RELEASED, EXPIRED) and not is_back:
            raise _ENDED[found.state]
        if found.state in (HELD, EXPIRED):
            found.state, found.confirmed_ms, found.ended_ms = CONFIRMED, self.books.now_ms, None
            found.seq = self.books.next_seq()
        if command.fulfil and found.state == CONFIRMED:
            found.state, found.ended_ms = FULFILLED, self.books.now_ms
        return ReservationAnswer(found, durable=True, reacquired=is_back)

    async def fulfil(self, command: Fulfil, call: Call) -> ReservationAnswer:
        self.books.begin(command, call)
        return self._fulfil(command, call)

    def _fulfil(self, command: Fulfil, call: Call) -> ReservationAnswer:
        found = self._find(command.id, call)
        if found.state == HELD:
            raise e.ReservationNotConfirmed
        if found.state in (RELEASED, EXPIRED):
            raise _ENDED[found.state]
        found.state, found.ended_ms = FULFILLED, self.books.now_ms
        return ReservationAnswer(found, durable=True)

    async def release(self, command: Release, call: Call) -> ReservationAnswer:
        self.books.begin(command, call)
        return self._release(command, call)

    def _release(self, command: Release, call: Call) -> ReservationAnswer:
        found = self._find(command.id, call)
        if found.state == FULFILLED:
            raise e.ReservationFulfilled
        if found.state in (HELD, CONFIRMED):
            if found.state == HELD:
                self._give_back(found)
            found.state, found.ended_ms, found.seq = RELEASED, self.books.now_ms, self.books.next_seq()
        return ReservationAnswer(found, durable=True)

    async def search(
        self,
        call: Call,
        *,
        reference: str | None,
        customer: str | None,
        sku: str | None,
        state: str | None,
        limit: int,
        cursor: str | None,
    ) -> ReservationPage:
        wanted = {"reference": reference, "customer": customer, "sku": sku, "state": state}
        self.books.begin({**wanted, "limit": limit, "cursor": cursor}, call)
        found = [
            each
            for each in self.books.reservations.values()
            if each.shop == call.shop
            and reference in (None, each.reference)
            and customer in (None, each.customer)
            and state in (None, each.state)
            and (sku is None or any(line.sku == sku for line in each.lines))
        ]
        start = _start(cursor)
        more = str(start + limit) if len(found) > start + limit else None
        return ReservationPage(found[start : start + limit], more, Position(0, 1, self.books.seq))

    async def batch(
        self, commands: Sequence[BatchCommand], call: Call, *, shops: Sequence[str] = ()
    ) -> list[BatchResult]:
        self.books.begin(list(commands), call)
        calls = [replace(call, shop=shop) for shop in shops] or [call] * len(commands)
        return [self._result(command, own) for command, own in zip(commands, calls, strict=True)]

    def _result(self, command: BatchCommand, call: Call) -> BatchResult:
        if self.books.failures_of_operations:
            return self.books.failures_of_operations.popleft()
        try:
            match command:
                case Reserve():
                    return self._reserve(command, call)
                case Extend():
                    return self._extend(command, call)
                case Confirm():
                    return self._confirm(command, call)
                case Fulfil():
                    return self._fulfil(command, call)
                case Release():
                    return self._release(command, call)
                case Adjust():
                    return FakeStock(self.books).apply(command, call)
        except e.GatewayError as error:
            return error


_ENDED = {
    CONFIRMED: e.ReservationConfirmed,
    FULFILLED: e.ReservationFulfilled,
    RELEASED: e.ReservationReleased,
    EXPIRED: e.ReservationExpired,
}


def _start(cursor: str | None) -> int:
    if cursor is not None and not cursor.isdecimal():
        raise e.InvalidRequest(errors=[e.FieldError("cursor", "is not one of ours")])
    return int(cursor or 0)


class FakeStock:
    """Levels, gated by sequences as the contract says."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.short_way = ShortWay(books)

    def _answer(self, entry: Sku) -> SkuAnswer:
        return SkuAnswer(entry, entry.position(0), durable=True)

    def begin_read(self, sku: str, call: Call, read: SkuRead) -> bool:
        """Every second one takes the short way."""
        return self.short_way.begin(lambda: self._read(sku, call), read)

    async def read(self, sku: str, call: Call) -> SkuAnswer:
        return self._read(sku, call)

    def _read(self, sku: str, call: Call) -> SkuAnswer:
        self.books.begin(sku, call)
        if (call.shop, sku) not in self.books.skus:
            raise e.SkuNotFound
        return self._answer(self.books.skus[call.shop, sku])

    async def query(self, skus: Sequence[str], call: Call) -> tuple[list[SkuAnswer], list[str]]:
        self.books.begin(list(skus), call)
        known = [sku for sku in skus if (call.shop, sku) in self.books.skus]
        found = [self._answer(self.books.skus[call.shop, sku]) for sku in known]
        return found, [sku for sku in skus if sku not in known]

    async def catalogue(self, call: Call, *, limit: int, cursor: str | None) -> StockPage:
        self.books.begin({"limit": limit, "cursor": cursor}, call)
        found = [self._answer(sku) for (shop, _), sku in sorted(self.books.skus.items()) if shop == call.shop]
        start = _start(cursor)
        more = str(start + limit) if len(found) > start + limit else None
        return StockPage(found[start : start + limit], more, Position(0, 1, self.books.seq))

    async def put_level(self, command: PutLevel, call: Call) -> LevelAnswer:
        self.books.begin(command, call)
        entry = self.books.skus.get((call.shop, command.sku))
        level = entry.levels.get(command.location) if entry else None
        self._match(level, command.if_match)
        for reservation_id in command.reflects:
            told = self.books.reservations.get(reservation_id)
            if told is None or told.state != CONFIRMED:
                raise e.InvalidRequest(errors=[e.FieldError("reflects", f"{reservation_id} is not confirmed")])
        content = f"{command.on_hand} {command.deduction} {command.safety_stock} {command.reflects}"
        before = level.sources.get(command.source) if level else None
        if level and before and command.sequence <= before.sequence:
            if command.sequence == before.sequence and before.digest == content:
                return self._told(call, command.sku, level, applied=False)
            raise e.StaleSequence(current_sequence=before.sequence)
        level = self.books.level(call.shop, command.sku, command.location)
        if command.on_hand is not None:
            level.on_hand = command.on_hand
        if command.safety_stock is not None:
            level.safety_stock = command.safety_stock
        deduction = before.deduction if before else 0
        if command.deduction is not None:
            deduction = command.deduction
        level.sources[command.source] = SourceEntry(command.source, command.sequence, deduction, content)
        level.deducted = sum(entry.deduction for entry in level.sources.values())
        return self._told(call, command.sku, level, applied=True)

    def _told(
        self, call: Call, sku: str, level: Level, *, applied: bool | None = None, replayed: bool = False
    ) -> LevelAnswer:
        position = Position(0, level.epoch, level.seq)
        return LevelAnswer(call.shop, sku, level, position, True, applied, replayed)

    def _match(self, level: Level | None, if_match: int | None) -> None:
        version = level.version if level else 0
        if if_match is not None and if_match != version:
            raise e.VersionConflict(current_version=version)

    async def adjust(self, command: Adjust, call: Call) -> LevelAnswer:
        self.books.begin(command, call)
        return self.apply(command, call)

    def apply(self, command: Adjust, call: Call) -> LevelAnswer:
        """The adjustment, as single calls and batches make it."""
        entry = self.books.skus.get((call.shop, command.sku))
        level = entry.levels.get(command.location) if entry else None
        if level is None:
            raise e.SkuNotFound
        record = (call.shop, "adjust", command.idempotency_key)
        if record in self.books.keys:
            if self.books.keys[record][0] != command.fingerprint:
                raise e.IdempotencyKeyReused
            return self._told(call, command.sku, level, replayed=True)
        self._match(level, command.if_match)
        if level.on_hand + command.delta < 0:
            raise e.InsufficientOnHand(on_hand=level.on_hand)
        level = self.books.level(call.shop, command.sku, command.location)
        level.on_hand += command.delta
        self.books.keys[record] = (command.fingerprint, None)
        return self._told(call, command.sku, level)

    async def pause(self, command: Pause, call: Call) -> SkuAnswer:
        self.books.begin(command, call)
        if (call.shop, command.sku) not in self.books.skus:
            raise e.SkuNotFound
        entry = self.books.skus[call.shop, command.sku]
        entry.paused, entry.reason = command.paused, command.reason or ""
        return self._answer(entry)

    async def import_rows(
        self, rows: AsyncIterator[ImportRow], source: str, call: Call
    ) -> tuple[int, int, int, list[tuple[int, str]]]:
        applied = unchanged = stale = 0
        rejected: list[tuple[int, str]] = []
        self.books.begin(source, call)
        async for row in rows:
            self.books.seen.append((row, call))
            if row.sku == "poison":
                rejected.append((row.row, "the service does not like it"))
                continue
            command = PutLevel(row.sku, row.location, source, row.sequence, row.on_hand, None, row.safety_stock)
            try:
                if (await self.put_level(command, call)).applied:
                    applied += 1
                else:
                    unchanged += 1
            except e.StaleSequence:
                stale += 1
        return applied, unchanged, stale, rejected


class FakeOperations:
    """Health and administration."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.invalid: list[e.FieldError] = []
        self.repairs: list[tuple[str, str | None, str, str]] = []

    async def readiness(self) -> Readiness:
        return Readiness(self.books.is_ready, {"redis": {"ok": self.books.is_ready, "warnings": ["no replica"]}})

    async def metrics(self) -> bytes:
        return metrics.render()

    async def shards(self) -> list[dict[str, object]]:
        return [
            {
                "shard": 0,
                "state": "halted",
                "halted_reason": "for a test",
                "epoch": 3,
                "generation": 2,
                "checkpoint": 9,
                "owner": "g",
            }
        ]

    async def plan_repair(self, adopt: Adopt | None) -> Plan:
        plan = Plan(0, "halted", "for a test", adopt=adopt)
        plan.steps.append(Step("level_corrected", "main/a/main", "held 3 → held 2", "the log told held 2", "-1"))
        plan.for_human.append(HumanTask("gap", "seq 4", "the next event is 6", "bring it back"))
        return plan

    async def repair(self, plan_id: str, adopt: Adopt | None, reason: str, actor: str) -> Repair:
        plan = await self.plan_repair(adopt)
        self.repairs.append((plan_id, adopt, reason, actor))
        return Repair(plan_id == plan.id, plan, 4)

    async def conservation(self) -> Conservation:
        return Conservation({"levels": 2}, [{"law": "held", "sku": "a", "expected": 1, "found": 2}])

    def policy(self) -> dict[str, object]:
        return {"version": 1, "source": "defaults", "tiers": {"cart": {"ttl_seconds": 300}}}

    def reload(self) -> dict[str, object]:
        if self.invalid:
            raise e.InvalidRequest(errors=self.invalid)
        return self.policy() | {"version": 2}
