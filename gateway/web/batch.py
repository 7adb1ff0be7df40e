"""`/v1/batch`: many operations in one call, each answered as its own call would be."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.domain.answer import BatchResult, ReservationAnswer
from gateway.domain.command import BatchCommand, Reserve
from gateway.domain.errors import FieldError, Forbidden, GatewayError, IdempotencyKeyRequired, InvalidRequest
from gateway.web.auth import STOCK_WRITE
from gateway.web.bodies import (
    BatchAdjustBody,
    BatchBody,
    ConfirmBody,
    ExtendBody,
    FulfilBody,
    Operation,
    ReleaseBody,
    ReserveBody,
    check,
)
from gateway.web.exchange import Exchange
from gateway.web.fields import is_idempotency_key
from gateway.web.json_text import RepeatedKey, repeated_keys
from gateway.web.reading import read_form
from gateway.web.rendering import level_answer, reservation_answer, to_json
from gateway.web.reservations import (
    confirm_command,
    extend_command,
    fulfil_command,
    judge_hold,
    release_command,
    reserve_command,
)
from gateway.web.site import Site
from gateway.web.stock import adjust_command
from gateway.web.wire import Answer


async def batch(site: Site, exchange: Exchange) -> Answer:
    """Each operation has its result, in order; one that failed has not stopped the others.

    The batch's shop is that of every operation whose body names none.
    """
    parsed, body = await read_form(exchange, BatchBody, site.limits)
    exchange.errors = [error for error in exchange.errors if not _is_of_an_operation(error)]
    call = exchange.call(parsed)
    if body is None or exchange.errors:
        raise exchange.refusal()
    refused: dict[int, GatewayError] = {}
    commands: list[BatchCommand] = []
    shops: list[str] = []
    for index, operation in enumerate(body.operations):
        try:
            command, shop = _command(site, exchange, operation, call.shop)
        except GatewayError as error:
            refused[index] = error
        else:
            commands.append(command)
            shops.append(shop)
    answers = iter(await site.services.reservations.batch(commands, call, shops=shops) if commands else ())
    waiting = iter(commands)
    results = []
    for index in range(len(body.operations)):
        if index in refused:
            results.append(_result(site, exchange, refused[index], None))
        else:
            results.append(_result(site, exchange, next(answers), next(waiting)))
    return Answer(200, to_json({"results": results}))


def _result(site: Site, exchange: Exchange, answer: BatchResult, command: BatchCommand | None) -> dict[str, Any]:
    if isinstance(answer, GatewayError):
        body = site.problems.result(answer, exchange.request_id)
        return {"status": body["status"], "body": body}
    if isinstance(answer, ReservationAnswer):
        is_reserve = isinstance(command, Reserve)
        wants_shortages = isinstance(command, Reserve) and command.allow_partial and not answer.replayed
        text = reservation_answer(answer, has_shortages=wants_shortages)
        result: dict[str, Any] = {"status": 201 if is_reserve else 200, "body": orjson.Fragment(text)}
    else:
        result = {"status": 200, "body": level_answer(answer)}
    if answer.replayed:
        result["replayed"] = True
    return result


def _is_of_an_operation(error: FieldError) -> bool:
    """Whether this key stands twice within an operation: then it is told there, and the call goes on."""
    return isinstance(error, RepeatedKey) and error.place[:1] == ("operations",)


def _command(site: Site, exchange: Exchange, told: object, batch_shop: str) -> tuple[BatchCommand, str]:
    """The operation as a command, and the shop that it concerns.

    Raises:
        InvalidRequest: with every wrong field, those of the body named as its own call would name them.
        Forbidden: the key may batch, but not adjust stock, or it is for another shop.
        IdempotencyKeyRequired: an adjust has no key.
    """
    errors = _repeated(told)
    operation = check(Operation, told, errors)
    if operation is None:
        raise InvalidRequest(errors=errors)
    parsed = operation.body or {}
    if operation.op == "adjust" and STOCK_WRITE not in exchange.principal.scopes:
        raise Forbidden
    named = parsed.get("shop")
    shop = named if isinstance(named, str) else batch_shop
    if exchange.principal.shop not in (None, shop):
        raise Forbidden("The API key is for another shop")
    if operation.op == "adjust" and operation.idempotency_key is None:
        raise IdempotencyKeyRequired
    _judge_envelope(operation, errors)
    command = _of_kind(site, operation, parsed, shop, errors)
    if command is None or errors:
        raise InvalidRequest(errors=errors)
    return command, shop


def _repeated(told: object) -> list[FieldError]:
    """The keys that stand twice within the operation, those of its body named as its own call would name them."""
    return [
        FieldError(error.field.removeprefix("body.") if error.place[:1] == ("body",) else error.field, error.message)
        for error in repeated_keys(told)
    ]


def _judge_envelope(operation: Operation, errors: list[FieldError]) -> None:
    is_new = operation.op in ("reserve", "adjust")
    if is_new and operation.id is not None:
        errors.append(FieldError("id", f"is not a field of {operation.op}"))
    if not is_new and operation.id is None:
        errors.append(FieldError("id", "is required"))
    key = operation.idempotency_key
    if key is not None and not is_idempotency_key(key):
        errors.append(FieldError("idempotency_key", "must be 1 to 255 visible ASCII characters"))


def _of_kind(
    site: Site, operation: Operation, parsed: dict[str, Any], shop: str, errors: list[FieldError]
) -> BatchCommand | None:
    """The command of the operation's kind, None where its body is not valid."""
    key, reservation_id = operation.idempotency_key, operation.id or ""
    match operation.op:
        case "reserve":
            hold = check(ReserveBody, parsed, errors)
            judge_hold(parsed, site.policy(), errors, default_tier="cart")
            return None if hold is None else reserve_command(hold, key, parsed, shop)
        case "extend":
            longer = check(ExtendBody, parsed, errors)
            judge_hold(parsed, site.policy(), errors, default_tier=None)
            return None if longer is None else extend_command(reservation_id, longer)
        case "confirm":
            sale = check(ConfirmBody, parsed, errors)
            return None if sale is None else confirm_command(reservation_id, sale)
        case "fulfil":
            shipped = check(FulfilBody, parsed, errors)
            return None if shipped is None else fulfil_command(reservation_id, shipped)
        case "release":
            free = check(ReleaseBody, parsed, errors)
            return None if free is None else release_command(reservation_id, free)
        case "adjust":
            move = check(BatchAdjustBody, parsed, errors)
            if move is None:
                return None
            return adjust_command(move.sku, move.location, move, key or "", parsed, shop)
