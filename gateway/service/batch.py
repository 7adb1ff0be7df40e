"""Batches: several operations in the order given, by few calls of Redis, each answered as its own call would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.domain.answer import BatchResult, LevelAnswer, ReservationAnswer
from gateway.domain.command import Ack, Adjust, BatchCommand, Call, Confirm, Extend, Fulfil, Release, Reserve
from gateway.domain.errors import Corrupt, DurabilityUnknown, GatewayError, HotStoreUnavailable
from gateway.domain.identifier import ReservationId, mint_random_part, request_record
from gateway.hot.operations import adjust_text
from gateway.service import verdict
from gateway.service.books import Absent, Books, durability_unknown, known_id

LINES_MAX = 1000  # lines one call of Redis works on; a thousand take about 10 ms there
CHANGE_LINES = 4  # what a change of one reservation counts for: its lines are not known here


class Texts(Protocol):
    """Who knows how commands are told to scripts."""

    def reserve_text(self, command: Reserve, call: Call, random_part: str, *, has_asked: bool) -> str:
        """The operation reserve."""
        ...

    def change_text(self, command: Extend | Confirm | Fulfil | Release, call: Call, id: ReservationId) -> str:
        """The operation on one reservation."""
        ...


@dataclass(slots=True)
class _Operation:
    """One command on its way, as the call of its own that it would be: its text, the names it may miss, and its result."""

    command: BatchCommand
    call: Call
    name: str
    text: str = ""
    target: ReservationId | None = None
    random_part: str = ""
    record: str = ""
    has_asked: bool = False
    result: BatchResult | None = None

    @property
    def lines(self) -> int:
        return len(self.command.lines) if isinstance(self.command, Reserve) else CHANGE_LINES


class BatchRun:
    """One batch. `results` is complete when `run` has returned."""

    def __init__(self, texts: Texts, books: Books, acks: dict[str, Ack], call: Call) -> None:
        self._texts = texts
        self._books = books
        self._acks = acks
        self._call = call

    async def run(self, commands: Sequence[BatchCommand], shops: Sequence[str] = ()) -> list[BatchResult]:
        """One result per command, in order; `shops` names the shop of each, empty: all concern the call's."""
        calls = [replace(self._call, shop=shop) for shop in shops] or [self._call] * len(commands)
        operations = [self._prepare(command, call) for command, call in zip(commands, calls, strict=True)]
        parts = _parts([operation for operation in operations if operation.result is None])
        for number, part in enumerate(parts):
            try:
                await self._apply(part)
            except GatewayError as problem:
                if number == 0:
                    raise  # nothing was applied, or nothing is known: the call is answered as a whole
                _tell_broken(problem, part, [operation for later in parts[number + 1 :] for operation in later])
                break
        await self._settle(operations)
        return [operation.result or Corrupt("an operation was left out") for operation in operations]

    def _prepare(self, command: BatchCommand, call: Call) -> _Operation:
        operation = _Operation(command, call, type(command).__name__.lower())
        if isinstance(command, Reserve):
            operation.random_part = mint_random_part()
            if command.idempotency_key is not None:
                operation.record = request_record(call.shop, "reserve", command.idempotency_key)
        elif isinstance(command, Adjust):
            operation.record = request_record(call.shop, "adjust", command.idempotency_key)
        else:
            try:
                operation.target = known_id(command.id)
            except GatewayError as problem:
                operation.result = problem
        return operation

    def _write_text(self, operation: _Operation) -> str:
        command, call = operation.command, operation.call
        if isinstance(command, Reserve):
            return self._texts.reserve_text(command, call, operation.random_part, has_asked=operation.has_asked)
        if isinstance(command, Adjust):
            return adjust_text(
                command, shop=call.shop, actor=call.actor, record=operation.record, has_asked=operation.has_asked
            )
        return self._texts.change_text(command, call, known_id(command.id))

    async def _apply(self, part: list[_Operation]) -> None:
        """Each operation of the part has its result, the part is one unit of work."""
        while part:
            for operation in part:
                operation.text = self._write_text(operation)
            try:
                texts = tuple(operation.text for operation in part)
                answer = await self._books.run("batch", (), texts, within_ms=self._books.time_left(self._call))
            except Absent as absent:
                part = self._without(part, absent.names)
            except HotStoreUnavailable as problem:
                if "OOM" not in problem.detail or problem.outcome != "not_applied" or len(part) == 1:
                    raise
                for operation in part:  # Redis is full: what frees units may still pass alone
                    await self._apply_alone(operation)
                return
            else:
                for operation, result in zip(part, answer.nested(), strict=True):
                    operation.result = self._judge(operation, result[0], result[1:], answer.is_resent)
                return

    async def _apply_alone(self, operation: _Operation) -> None:
        try:
            answer = await self._books.run(operation.name, (), (operation.text,))
        except Absent as absent:
            self._without([operation], absent.names)
        except GatewayError as problem:
            operation.result = problem
        else:
            operation.result = self._judge(operation, answer.status, answer.fields, answer.is_resent)

    def _without(self, part: list[_Operation], names: set[str]) -> list[_Operation]:
        """The part that can still be applied, when these names are nowhere.

        Raises Corrupt for a name nobody asked for.
        """
        left = []
        for operation in part:
            if operation.record and f"q:{operation.record}" in names:
                operation.has_asked = True
            if operation.target is not None and f"r:{operation.target.random_part}" in names:
                operation.result = self._books.missing(operation.target)
            else:
                left.append(operation)
        asked = {f"q:{operation.record}" for operation in part}
        asked |= {f"r:{operation.target.random_part}" for operation in part if operation.target is not None}
        verdict.no_orphans(names - asked)
        return left

    def _judge(self, operation: _Operation, status: str, fields: list[str], is_resent: bool) -> BatchResult:
        shard, command = self._books.shard.number, operation.command
        try:
            if isinstance(command, Reserve):
                return verdict.reserved(status, fields, shard)
            if isinstance(command, Adjust):
                return verdict.level_written(status, fields, command.location, shard)
            return verdict.changed(operation.name, status, fields, shard, command.id)
        except GatewayError as problem:
            # Those with a record or a random part recognise themselves; the others by a state from which somebody may have gone on.
            return problem if operation.target is None else verdict.unless_resent(problem, is_resent)

    async def _settle(self, operations: list[_Operation]) -> None:
        """Every result says whether it is committed; those that must be are waited for, the newest last."""
        newest: tuple[int, int] | None = None
        for operation in operations:
            if isinstance(operation.result, ReservationAnswer | LevelAnswer):
                position = _position(operation.result)
                if self._ack(operation) == "durable" and (newest is None or position > newest):
                    newest = position
        if newest is not None:
            try:
                await self._books.settle(*newest, "durable")
            except DurabilityUnknown:
                self._tell_unknown(operations)
        for operation in operations:
            if isinstance(operation.result, ReservationAnswer | LevelAnswer):
                operation.result.durable = await self._books.settle(*_position(operation.result), "memory")

    def _tell_unknown(self, operations: list[_Operation]) -> None:
        for operation in operations:
            result = operation.result
            if not isinstance(result, ReservationAnswer | LevelAnswer) or self._ack(operation) == "memory":
                continue
            if not self._books.watermark.covers(*_position(result)):
                told = result.told if isinstance(result, ReservationAnswer) else None
                operation.result = durability_unknown("the commit was not seen in time", told)

    def _ack(self, operation: _Operation) -> Ack:
        name = "stock" if operation.name == "adjust" else operation.name
        return self._call.ack or self._acks[name]


def _parts(operations: list[_Operation]) -> list[list[_Operation]]:
    """The operations in their order, cut into what one call of Redis takes: so many lines, and each reservation once.

    A call whose reply was lost is sent again, and each operation recognises what it has done by the state that it led to. It
    would not if the state were that of a later step: an extend is refused once its hold is confirmed.
    """
    parts: list[list[_Operation]] = []
    lines, targets = 0, set[str]()
    for operation in operations:
        target = "" if operation.target is None else operation.target.random_part
        if not parts or target in targets or lines + operation.lines > LINES_MAX:
            parts.append([])
            lines, targets = 0, set()
        parts[-1].append(operation)
        lines += operation.lines
        if target:
            targets.add(target)
    return parts


def _tell_broken(problem: GatewayError, part: list[_Operation], later: list[_Operation]) -> None:
    """Operations of the part have the problem as their result, and those behind it, which were not begun, are not applied."""
    for operation in part:
        operation.result = operation.result or type(problem)(problem.detail, outcome=problem.outcome)
    for operation in later:
        operation.result = type(problem)(problem.detail, outcome="not_applied")


def _position(result: ReservationAnswer | LevelAnswer) -> tuple[int, int]:
    if isinstance(result, LevelAnswer):
        return result.level.epoch, result.level.seq
    return result.told.epoch, result.told.seq
