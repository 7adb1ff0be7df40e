"""Stock: levels as sources tell them, adjustments, pauses, and reading."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gateway.domain.answer import ImportRow, LevelAnswer, SkuAnswer, StockPage
from gateway.domain.command import Ack, Adjust, Call, Pause, PutLevel
from gateway.domain.errors import GatewayError, InvalidRequest, SkuNotFound
from gateway.domain.identifier import Position, ReservationId, parse_reservation_id, request_record
from gateway.domain.stock import Sku
from gateway.hot.operations import adjust_text, parse_sku, pause_text, put_text
from gateway.hot.readings import Readings
from gateway.service import verdict
from gateway.service.books import Absent, Books
from gateway.service.content import content_of
from gateway.service.cursor import pack_cursor, unpack_cursor
from gateway.service.importing import ImportRun
from gateway.service.port import SkuRead

SKUS_MAX = 100  # skus read by one call of Redis


class StockService:
    """Every thing a caller may want of stock. `ack` is the default of its writes."""

    def __init__(self, books: Books, ack: Ack) -> None:
        self._books = books
        self._ack = ack
        self._readings: Readings[SkuAnswer | GatewayError | None] = Readings(books.shard, self._read)

    async def read(self, sku: str, call: Call) -> SkuAnswer:
        """The sku with all its levels. Raises SkuNotFound when it has none."""
        found, _ = await self.query([sku], call)
        if not found:
            raise _no_sku(sku)
        return found[0]

    def begin_read(self, sku: str, call: Call, read: SkuRead) -> bool:
        """Whether the sku is being read, together with all that are asked for at this moment; `read` is told it later and once.

        Not so for one who has a time of its own: `read` is for those.
        """
        if call.deadline_ms:
            return False
        self._readings.add(call.shop, sku, _Reading(read))
        return True

    def _read(self, text: str) -> SkuAnswer | GatewayError | None:
        try:
            answer = self._told(parse_sku(text))
        except (ValueError, KeyError, IndexError):
            return None  # `read` is to find out what it is
        return answer if answer.sku.levels else _no_sku(answer.sku.sku)

    async def query(self, skus: Sequence[str], call: Call) -> tuple[list[SkuAnswer], list[str]]:
        """The skus that have a level, in the order asked, and the names of those that have none."""
        books, names = self._books, list(dict.fromkeys(skus))
        found: list[SkuAnswer] = []
        for at in range(0, len(names), SKUS_MAX):
            some = names[at : at + SKUS_MAX]
            declared = tuple(books.shard.keys.sku(call.shop, sku) for sku in some)
            try:
                answer = await books.run("read_sku", declared, tuple(f"{call.shop}/{sku}" for sku in some))
            except Absent as absent:
                verdict.no_orphans(absent.names)
                raise
            for sku, text in zip(some, answer.fields, strict=True):
                async with books.legible(f"s:{call.shop}/{sku}", "not_applied"):
                    found.append(self._told(parse_sku(text)))
        return [one for one in found if one.sku.levels], [one.sku.sku for one in found if not one.sku.levels]

    def _told(self, sku: Sku) -> SkuAnswer:
        books = self._books
        position = sku.position(books.shard.number)
        return SkuAnswer(sku, position, books.watermark.covers(position.epoch, position.seq), books.shard.number)

    async def catalogue(self, call: Call, *, limit: int, cursor: str | None) -> StockPage:
        """Skus of the durable store by name; `as_of` says how fresh. Raises InvalidRequest for a foreign cursor."""
        books = self._books
        seen = Position(books.shard.number, books.watermark.epoch, books.watermark.seq)
        after = "" if cursor is None else unpack_cursor(cursor, 1)[0]
        skus = await verdict.durable_read(books.ledger.list_skus(call.shop, after, limit + 1))
        page = [self._told(sku) for sku in skus[:limit]]
        more = pack_cursor(page[-1].sku.sku) if len(skus) > limit else None
        return StockPage(page, more, seen)

    async def put_level(self, command: PutLevel, call: Call) -> LevelAnswer:
        """What the source tells is applied, or was before. Safe to repeat: the sequence decides.

        Raises StaleSequence, VersionConflict, InvalidRequest (reflects that are unknown or not confirmed).
        """
        books = self._books
        ids = self._reflected(command)
        text = put_text(command, shop=call.shop, actor=call.actor, content=content_of(command), reflects=ids)
        declared = (books.shard.keys.sku(call.shop, command.sku),)
        try:
            answer = await books.run("put", declared, (text,), within_ms=books.time_left(call))
        except Absent as absent:
            verdict.no_orphans(absent.names - {f"r:{id.random_part}" for id in ids})
            raise _not_reflected(ids, {name[2:] for name in absent.names}) from None
        try:
            if answer.status == "NOT_CONFIRMED":
                raise _not_reflected(ids, set(answer.fields))
            async with books.legible(f"s:{call.shop}/{command.sku}", "unknown"):
                written = verdict.level_written(answer.status, answer.fields, command.location, books.shard.number)
        except GatewayError as refusal:
            raise verdict.unless_resent(refusal, answer.is_resent) from refusal
        return await self._settled(written, call)

    def _reflected(self, command: PutLevel) -> list[ReservationId]:
        ids, errors = [], []
        for i, text in enumerate(command.reflects):
            id = parse_reservation_id(text)
            if id is None:
                errors.append({"field": f"reflects[{i}]", "message": f"{text!r} is not a known reservation"})
            else:
                ids.append(id)
        if errors:
            raise InvalidRequest(errors=errors)
        return ids

    async def adjust(self, command: Adjust, call: Call) -> LevelAnswer:
        """on_hand has moved by the delta, once per key. Raises SkuNotFound, InsufficientOnHand, VersionConflict."""
        books = self._books
        record = request_record(call.shop, "adjust", command.idempotency_key)
        declared = (books.shard.keys.sku(call.shop, command.sku), books.shard.keys.request(record))
        text = adjust_text(command, shop=call.shop, actor=call.actor, record=record, has_asked=False)
        try:
            answer = await books.run("adjust", declared, (text,), within_ms=books.time_left(call))
        except Absent as absent:
            verdict.no_orphans(absent.names - {f"q:{record}"})
            text = adjust_text(command, shop=call.shop, actor=call.actor, record=record, has_asked=True)
            answer = await books.run("adjust", declared, (text,), within_ms=books.time_left(call))
        async with books.legible(f"s:{call.shop}/{command.sku}", "unknown"):
            written = verdict.level_written(answer.status, answer.fields, command.location, books.shard.number)
        return await self._settled(written, call)

    async def _settled(self, answer: LevelAnswer, call: Call) -> LevelAnswer:
        answer.durable = await self._books.settle(answer.level.epoch, answer.level.seq, call.ack or self._ack)
        return answer

    async def pause(self, command: Pause, call: Call) -> SkuAnswer:
        """The sku takes no new reservations, or takes them again. Safe to repeat. Raises SkuNotFound."""
        books = self._books
        declared = (books.shard.keys.sku(call.shop, command.sku),)
        text = pause_text(command, shop=call.shop, actor=call.actor)
        try:
            answer = await books.run("pause", declared, (text,), within_ms=books.time_left(call))
        except Absent as absent:
            verdict.no_orphans(absent.names)
            raise
        if answer.status not in ("APPLIED", "UNCHANGED"):
            raise verdict.refused_sku(answer.status)
        async with books.legible(f"s:{call.shop}/{command.sku}", "unknown"):
            sku = parse_sku(answer.fields[0])
        told = self._told(sku)
        told.durable = await books.settle(sku.epoch, sku.seq, call.ack or self._ack)
        return told

    async def import_rows(
        self, rows: AsyncIterator[ImportRow], source: str, call: Call
    ) -> tuple[int, int, int, list[tuple[int, str]]]:
        """(applied, unchanged, stale, rejected rows with the reason).

        Rows are taken as they come, a bounded number at a time.
        """
        return await ImportRun(self._books, source, call, call.ack or self._ack).run(rows)


class _Reading:
    """Takes a sku that nobody awaits; see `Receiver`."""

    __slots__ = ("_is_done", "_read")

    def __init__(self, read: SkuRead) -> None:
        self._read = read
        self._is_done = False

    def done(self) -> bool:
        return self._is_done

    def set_result(self, result: SkuAnswer | GatewayError | None) -> None:
        self._is_done = True
        self._read(result)

    def set_exception(self, problem: GatewayError) -> None:
        self._is_done = True
        self._read(problem)


def _no_sku(sku: str) -> SkuNotFound:
    return SkuNotFound(f"there is no sku {sku!r}")


def _not_reflected(ids: Sequence[ReservationId], parts: set[str]) -> InvalidRequest:
    errors = [
        {"field": f"reflects[{i}]", "message": f"{id} is unknown or not confirmed"}
        for i, id in enumerate(ids)
        if id.random_part in parts
    ]
    return InvalidRequest(errors=errors)
