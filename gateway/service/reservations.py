"""Reservations: what a checkout does, from the hold to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from functools import partial

from gateway.domain.answer import BatchResult, ReservationAnswer, ReservationPage
from gateway.domain.command import (
    Ack,
    BatchCommand,
    Call,
    Confirm,
    Extend,
    Fulfil,
    Release,
    Reserve,
)
from gateway.domain.errors import GatewayError, InvalidRequest, ReservationNotFound
from gateway.domain.identifier import Position, ReservationId, mint_random_part, parse_reservation_id, request_record
from gateway.domain.reservation import EXPIRED, HELD, Reservation, parse_reservation
from gateway.durable.ledger import ReservationQuery
from gateway.hot import operations
from gateway.service import verdict
from gateway.service.batch import BatchRun
from gateway.service.beginning import Begun
from gateway.service.books import Absent, Books, known_id
from gateway.service.cursor import pack_cursor, unpack_cursor
from gateway.service.port import Ended, Expect

GROUPED_LINES_MAX = 20  # lines of a reserve that may travel with others


class ReservationService:
    """Every thing a caller may want of reservations. `acks` are the defaults per operation."""

    def __init__(self, books: Books, acks: dict[str, Ack], location_priority: Sequence[str]) -> None:
        self._books = books
        self._acks = acks
        self._priority = ",".join(location_priority)

    async def reserve(self, command: Reserve, call: Call) -> ReservationAnswer:
        """The lines are held until the deadline, all or none, or what there is of each with `allow_partial`.

        Safe to repeat with an idempotency key: the first reservation is answered again, as it is now.
        """
        books = self._books
        random_part = mint_random_part()
        text = self.reserve_text(command, call, random_part, has_asked=False)
        try:
            result = await self._reserve(text, random_part, command, call)
        except Absent as absent:
            verdict.no_orphans({name for name in absent.names if not name.startswith("q:")})
            text = self.reserve_text(command, call, random_part, has_asked=True)
            result = await self._reserve(text, random_part, command, call)
        answer = verdict.reserved(result[0], result[1:], books.shard.number)
        return await self._settled(answer, call.ack or self._acks["reserve"])

    def begin_reserve(self, command: Reserve, call: Call, ended: Ended, expect: Expect) -> bool:
        """Whether the command is on its way without a task of its own; `ended` is told its outcome, later and once.

        Where its commit is waited for, `expect` is mostly told the answer meanwhile, so that it can be made ready.
        Not on its way is one that has a time of its own, or many lines: `reserve` is for those.
        """
        if call.deadline_ms or len(command.lines) > GROUPED_LINES_MAX:
            return False
        books = self._books
        text = self.reserve_text(command, call, mint_random_part(), has_asked=False)
        judge = partial(verdict.reserved, shard=books.shard.number)
        again = partial(books.begin_reserve, text)
        again(Begun(books, call.ack or self._acks["reserve"], judge, ended, expect, again))
        return True

    def begin_change(self, command: Confirm | Fulfil | Release, call: Call, ended: Ended, expect: Expect) -> bool:
        """The same for a change of a reservation. Not on its way is one of an id that is none of ours."""
        id = None if call.deadline_ms else parse_reservation_id(command.id)
        if id is None:
            return False
        books, name = self._books, type(command).__name__.lower()
        judge = partial(verdict.changed, name, shard=books.shard.number, public_id=command.id)
        again = partial(books.begin_change, self.change_text(command, call, id), id.random_part)
        again(Begun(books, call.ack or self._acks[name], judge, ended, expect, again))
        return True

    def _reserve(self, text: str, random_part: str, command: Reserve, call: Call) -> Awaitable[list[str]]:
        """A small reserve travels with others of its moment; one with many lines or a time of its own travels alone."""
        if not call.deadline_ms and len(command.lines) <= GROUPED_LINES_MAX:
            return self._books.reserve(text)
        return self._reserve_alone(text, random_part, command, call)

    async def _reserve_alone(self, text: str, random_part: str, command: Reserve, call: Call) -> list[str]:
        books = self._books
        keys = books.shard.keys
        declared = (keys.reservation(random_part), keys.sku(call.shop, command.lines[0].sku))
        answer = await books.run("reserve", declared, (text,), within_ms=books.time_left(call))
        return [answer.status, *answer.fields]

    async def read(self, reservation_id: str, call: Call) -> ReservationAnswer:
        """The reservation as it is now; from the durable store when Redis has let go of it."""
        id, books = known_id(reservation_id), self._books
        shard = books.shard
        answer = await shard.run("read_reservation", (shard.keys.reservation(id.random_part),), (id.random_part,))
        if answer.status == "FOUND":
            async with books.legible(f"r:{id.random_part}", "not_applied"):
                reservation = parse_reservation(shard.number, answer.fields[0], answer.fields[1])
        else:
            text = await verdict.durable_read(books.ledger.read_reservation(id.random_part))
            if text is None:
                raise books.missing(id)
            reservation = as_of(parse_reservation(shard.number, id.random_part, text), shard.now_ms())
        if reservation.id != id or reservation.shop != call.shop:
            raise ReservationNotFound(f"there is no reservation {reservation_id}")
        return ReservationAnswer(reservation, books.watermark.covers(reservation.epoch, reservation.seq))

    async def extend(self, command: Extend, call: Call) -> ReservationAnswer:
        """The hold's deadline is `ttl_seconds` from now. Safe to repeat: the deadline counts from the last call."""
        return await self._change(command, call)

    async def confirm(self, command: Confirm, call: Call) -> ReservationAnswer:
        """The hold is a sale. Safe to repeat."""
        return await self._change(command, call)

    async def fulfil(self, command: Fulfil, call: Call) -> ReservationAnswer:
        """The units have left `on_hand`. Safe to repeat."""
        return await self._change(command, call)

    async def release(self, command: Release, call: Call) -> ReservationAnswer:
        """The units are free again. Safe to repeat."""
        return await self._change(command, call)

    async def _change(self, command: Extend | Confirm | Fulfil | Release, call: Call) -> ReservationAnswer:
        id, books = known_id(command.id), self._books
        name = type(command).__name__.lower()
        text = self.change_text(command, call, id)
        declared = (books.shard.keys.reservation(id.random_part),)
        try:
            answer = await books.run(name, declared, (text,), within_ms=books.time_left(call))
        except Absent as absent:
            verdict.no_orphans(absent.names - {f"r:{id.random_part}"})
            raise books.missing(id) from None
        try:
            async with books.legible(f"r:{id.random_part}", "unknown"):
                changed = verdict.changed(name, answer.status, answer.fields, books.shard.number, command.id)
        except GatewayError as refusal:
            raise verdict.unless_resent(refusal, answer.is_resent) from refusal
        return await self._settled(changed, call.ack or self._acks[name])

    async def _settled(self, answer: ReservationAnswer, ack: Ack) -> ReservationAnswer:
        told = answer.told
        answer.durable = await self._books.settle(told.epoch, told.seq, ack, told)
        return answer

    def reserve_text(self, command: Reserve, call: Call, random_part: str, *, has_asked: bool) -> str:
        """The operation as scripts read it, under the tier in force."""
        tier = self._books.policy().tiers[command.tier]
        key = command.idempotency_key
        return operations.reserve_text(
            command,
            shop=call.shop,
            actor=call.actor,
            random_part=random_part,
            record="" if key is None else request_record(call.shop, "reserve", key),
            ttl_ms=(tier.ttl_seconds if command.ttl_seconds is None else command.ttl_seconds) * 1000,
            priority=self._priority,
            has_asked=has_asked,
        )

    def change_text(self, command: Extend | Confirm | Fulfil | Release, call: Call, id: ReservationId) -> str:
        """The operation as scripts read it."""
        shop, actor = call.shop, call.actor
        match command:
            case Extend():
                return operations.extend_text(command, shop=shop, actor=actor, id=id, policy=self._books.policy())
            case Confirm():
                return operations.confirm_text(command, shop=shop, actor=actor, id=id, policy=self._books.policy())
            case Fulfil():
                return operations.fulfil_text(command, shop=shop, actor=actor, id=id)
            case Release():
                return operations.release_text(command, shop=shop, actor=actor, id=id)

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
        """Reservations of the durable store, newest first; `as_of` says how fresh.

        Raises InvalidRequest for a foreign cursor.
        """
        books = self._books
        seen = Position(books.shard.number, books.watermark.epoch, books.watermark.seq)
        now_ms = books.shard.now_ms()
        before = None
        if cursor is not None:
            created, random_part = unpack_cursor(cursor, 2)
            if not created.isdecimal():
                raise InvalidRequest(errors=[{"field": "cursor", "message": "is not a cursor of this search"}])
            before = (int(created), random_part)
        query = ReservationQuery(call.shop, reference, customer, sku, state, now_ms, limit + 1, before)
        rows = await verdict.durable_read(books.ledger.search_reservations(query))
        found = [as_of(parse_reservation(books.shard.number, part, text), now_ms) for part, text in rows[:limit]]
        more = None
        if len(rows) > limit:
            more = pack_cursor(str(found[-1].created_ms), found[-1].id.random_part)
        return ReservationPage(found, more, seen)

    async def batch(
        self, commands: Sequence[BatchCommand], call: Call, *, shops: Sequence[str] = ()
    ) -> list[BatchResult]:
        """One result per command, in order, by as few calls of Redis as its bounds allow; the commit is waited for once.

        `shops` names the shop of each command; without it all concern the call's.
        """
        return await BatchRun(self, self._books, self._acks, call).run(commands, shops)


def as_of(reservation: Reservation, now_ms: int) -> Reservation:
    """The reservation as it reads at that instant: a hold past its deadline is expired, swept or not."""
    if reservation.state == HELD and reservation.deadline_ms <= now_ms:
        reservation.state, reservation.ended_ms = EXPIRED, reservation.deadline_ms
    return reservation
