"""A client: sends requests to gateways, and writes down what it was told, as the clients of the fault suite do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import orjson

from gateway.domain.answer import BatchResult, LevelAnswer
from gateway.domain.command import Ack, Adjust, BatchCommand, Confirm, Extend, Fulfil, PutLevel, Release, Reserve, Wish
from gateway.domain.command import Call as Circumstance
from gateway.domain.errors import GatewayError
from gateway.web.problems import Problems
from gateway.web.rendering import level_answer, reservation_answer, sku_answer, to_json
from gateway.web.reservations import body_fingerprint
from tests.faults.history import Answer, Call, History
from tests.faults.request import Request
from tests.simulation.gateway import Gateway, SimulatedEngine

Told = tuple[int, dict[str, Any], bool]
#: Earliest and latest instant, in ms, that the clock of any server shows.
Instants = Callable[[], tuple[int, int]]

_PROBLEMS: Final = Problems()


class Client:
    """Sends requests of one shop and writes every call down, answered or not."""

    def __init__(self, name: str, shop: str, history: History, dice: random.Random, instants: Instants) -> None:
        self.name = name
        self._shop = shop
        self._history = history
        self._dice = dice
        self._instants = instants

    async def send(self, request: Request, gateway: Gateway, *, attempt: int = 1, seconds: float) -> Call:
        """The call, written down."""
        call = self._begun(request, gateway, attempt)
        told = await self._told(gateway, seconds, lambda engine: _answered(engine, request, self._shop))
        return self._ended(call, None if told is None else Answer(*told))

    async def send_batch(
        self, requests: list[Request], gateway: Gateway, *, number: int, attempt: int = 1, seconds: float
    ) -> list[Call]:
        """The calls of one batch, written down; where the batch itself is refused, each of them is."""
        begun = [replace(self._begun(request, gateway, attempt), batch=number) for request in requests]
        told = await self._told(gateway, seconds, lambda engine: _batch(engine, requests, self._shop))
        answers: list[Answer | None] = [None] * len(requests)
        if told is not None and told[0] == 200:
            answers = [Answer(*one) for one in told[1]["results"]]
        elif told is not None:
            answers = [Answer(told[0], told[1])] * len(requests)
        return [self._ended(call, one) for call, one in zip(begun, answers, strict=True)]

    async def _told(self, gateway: Gateway, seconds: float, work: Callable[[SimulatedEngine], Any]) -> Any:
        answer = gateway.ask(work, self._dice.uniform(0, 0.001), self._dice.uniform(0, 0.001))
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            return None

    def _begun(self, request: Request, gateway: Gateway, attempt: int) -> Call:
        return Call(
            client=self.name,
            operation=request.operation,
            start_s=asyncio.get_running_loop().time(),
            end_s=0,
            start_ms=self._instants()[0],
            end_ms=0,
            body=request.body,
            key=request.key,
            subject=request.subject,
            attempt=attempt,
            ack=request.ack,
            gateway=gateway.name,
        )

    def _ended(self, call: Call, answer: Answer | None) -> Call:
        now_s = asyncio.get_running_loop().time()
        ended = replace(call, end_s=now_s, end_ms=self._instants()[1], answer=answer)
        self._history.record(ended)
        return ended


# -- the gateway's side of a request: what the web floor does with it, in the gateway's process -----------------------


async def _answered(engine: SimulatedEngine, request: Request, shop: str) -> Told:
    try:
        return await _served(engine, request, shop)
    except GatewayError as problem:
        return _problem(problem)


def _problem(problem: GatewayError) -> Told:
    body = orjson.loads(to_json(_PROBLEMS.body(problem, "simulated")))
    return body["status"], body, False


async def _served(engine: SimulatedEngine, request: Request, shop: str) -> Told:
    circumstance = Circumstance(shop, "key:test", _ack(request))
    body, subject = request.body, request.subject
    if request.operation == "reserve":
        command = _command(request, shop)
        assert isinstance(command, Reserve)
        begun = await _ended(
            lambda ended, expect: engine.reservations.begin_reserve(command, circumstance, ended, expect)
        )
        return _told(begun or await engine.reservations.reserve(command, circumstance), command)
    if request.operation == "get":
        return _told(await engine.reservations.read(subject, circumstance), None)
    if request.operation == "stock":
        read = await _ended(lambda ended, _: engine.stock.begin_read(subject, circumstance, ended))
        return 200, orjson.loads(to_json(sku_answer(read or await engine.stock.read(subject, circumstance)))), False
    if request.operation == "put":
        sku, location = subject.split("/")
        command = PutLevel(sku, location, body["source"], body["sequence"], body.get("on_hand"))
        return _told(await engine.stock.put_level(command, circumstance), None)
    command = _command(request, shop)
    if isinstance(command, Confirm | Fulfil | Release):
        change = command
        begun = await _ended(
            lambda ended, expect: engine.reservations.begin_change(change, circumstance, ended, expect)
        )
        if begun is not None:
            return _told(begun, command)
    match command:
        case Adjust():
            return _told(await engine.stock.adjust(command, circumstance), command)
        case Extend():
            return _told(await engine.reservations.extend(command, circumstance), command)
        case Confirm():
            return _told(await engine.reservations.confirm(command, circumstance), command)
        case Fulfil():
            return _told(await engine.reservations.fulfil(command, circumstance), command)
        case Release():
            return _told(await engine.reservations.release(command, circumstance), command)
    raise AssertionError(f"nobody knows {request.operation}")


async def _ended(begin: Callable[[Callable[[Any], None], Callable[[Any], None]], bool]) -> Any:
    """The answer on the short way, which has no task of its own; None where it is to take the long way."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    expected: list[Any] = []

    def end(outcome: Any) -> None:
        if not answer.done():
            answer.set_result(outcome)

    if not begin(end, expected.append):
        return None
    outcome = await answer
    assert expected in ([], [outcome]) or isinstance(outcome, GatewayError)
    if isinstance(outcome, GatewayError):
        raise outcome
    return outcome


async def _batch(engine: SimulatedEngine, requests: list[Request], shop: str) -> Told:
    commands = [_command(request, shop) for request in requests]
    try:
        results = await engine.reservations.batch(commands, Circumstance(shop, "key:test"))
    except GatewayError as problem:
        return _problem(problem)
    told = [_told(result, command) for result, command in zip(results, commands, strict=True)]
    return 200, {"results": told}, False


def _ack(request: Request) -> Ack | None:
    return "durable" if request.ack == "durable" else "memory" if request.ack == "memory" else None


def _command(request: Request, shop: str) -> BatchCommand:
    body, subject = request.body, request.subject
    if request.operation == "reserve":
        lines = [Wish(line["sku"], line["quantity"], line.get("location")) for line in body["lines"]]
        key = request.key
        return Reserve(
            lines,
            body.get("tier", "cart"),
            body.get("ttl_seconds"),
            reference=body["reference"],
            allow_partial=body.get("allow_partial", False),
            idempotency_key=key,
            fingerprint="" if key is None else body_fingerprint(body, shop),
        )
    if request.operation == "adjust":
        sku, location = subject.split("/")
        told = body_fingerprint(body, shop, sku=sku, location=location)
        assert request.key is not None
        return Adjust(sku, location, body["delta"], body["reason"], body["reference"], request.key, told)
    if request.operation == "extend":
        return Extend(subject, body.get("tier"), body.get("ttl_seconds"))
    if request.operation == "confirm":
        return Confirm(subject, body.get("if_expired", "reject"), body.get("fulfil", False))
    if request.operation == "fulfil":
        return Fulfil(subject)
    return Release(subject, body.get("reason"))


def _told(answer: BatchResult, command: object) -> Told:
    if isinstance(answer, GatewayError):
        return _problem(answer)
    if isinstance(answer, LevelAnswer):
        return 200, orjson.loads(to_json(level_answer(answer))), answer.replayed
    status = 201 if isinstance(command, Reserve) else 200
    return status, orjson.loads(reservation_answer(answer)), answer.replayed
