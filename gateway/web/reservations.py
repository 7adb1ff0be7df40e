"""`/v1/reservations`: units held, extended, sold, shipped and given back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel

from gateway.domain.answer import ReservationAnswer
from gateway.domain.command import Call, Confirm, Extend, Fulfil, Release, Reserve, Wish
from gateway.domain.errors import FieldError, GatewayError
from gateway.domain.identifier import fingerprint
from gateway.domain.policy import Policy
from gateway.domain.reservation import LEGAL_MOVES
from gateway.web.bodies import ConfirmBody, ExtendBody, FulfilBody, ReleaseBody, ReserveBody
from gateway.web.exchange import Exchange
from gateway.web.fields import PATTERN_WORDS, TEXT_PATTERN, is_cursor, is_text
from gateway.web.quick import QuickReserve, quick_reserve
from gateway.web.reading import form_of, json_at_hand, optional_form_at_hand, read_form, read_json
from gateway.web.rendering import reservation_answer, reservation_page, to_json
from gateway.web.route import Ended
from gateway.web.site import Site
from gateway.web.wire import Answer

M = TypeVar("M", bound=BaseModel)

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000
REPLAYED: Final = b"Idempotent-Replayed: true\r\n"


class _Ending:
    """How a request ends on its short way. An answer that was expected is made before it is told."""

    __slots__ = ("_ended", "_made", "_make")

    def __init__(self, make: Callable[[ReservationAnswer], Answer], ended: Ended) -> None:
        self._make = make
        self._ended = ended
        self._made: Answer | None = None

    def expect(self, answer: ReservationAnswer) -> None:
        """Most likely this will be told."""
        self._made = self._make(answer)

    def tell(self, outcome: ReservationAnswer | GatewayError | None) -> None:
        """It has ended."""
        ended = self._ended
        if not isinstance(outcome, ReservationAnswer):
            ended(outcome)
        elif (made := self._made) is not None:
            ended(lambda: made)
        else:
            ended(partial(self._make, outcome))


async def reserve(site: Site, exchange: Exchange) -> Answer:
    """Units are held for the caller until a deadline: all lines, or with `allow_partial` what there is of each."""
    raw = await read_json(exchange, site.limits)
    key = exchange.idempotency_key()
    command, call = _quick_hold(raw, key, site.policy(), exchange) or _judged_hold(raw, key, site.policy(), exchange)
    return _held(command, await site.services.reservations.reserve(command, call))


def begin_reserve(site: Site, exchange: Exchange, ended: Ended) -> bool:
    """The same for a request in which nothing is wrong, without a task; see `Route.begin`."""
    raw = json_at_hand(exchange, site.limits)
    if raw is None:
        return False
    hold = _quick_hold(raw, exchange.idempotency_key(), site.policy(), exchange)
    if hold is None:
        return False
    command, call = hold
    ending = _Ending(partial(_held, command), ended)
    return site.services.reservations.begin_reserve(command, call, ending.tell, ending.expect)


def _held(command: Reserve, answer: ReservationAnswer) -> Answer:
    text = reservation_answer(answer, has_shortages=command.allow_partial and not answer.replayed)
    headers = f"Location: /v1/reservations/{answer.told.public_id}\r\n".encode()
    return Answer(201, text, headers=headers + REPLAYED if answer.replayed else headers)


def _quick_hold(raw: bytes, key: str | None, policy: Policy, exchange: Exchange) -> tuple[Reserve, Call] | None:
    """The hold of a request in which nothing is wrong, else None, and nothing was said about it. Raises Forbidden."""
    body = quick_reserve(raw)
    if body is None:
        return None
    faults: list[FieldError] = []
    judge_hold({"tier": body.tier, "ttl_seconds": body.ttl_seconds}, policy, faults, default_tier=None)
    if faults:
        return None
    call = exchange.call({"shop": body.shop})
    if exchange.errors:
        raise exchange.refusal()
    return reserve_command(body, key, {} if key is None else orjson.loads(raw), call.shop), call


def _judged_hold(raw: bytes, key: str | None, policy: Policy, exchange: Exchange) -> tuple[Reserve, Call]:
    """The same for any request. Raises MalformedJson, Forbidden, and InvalidRequest that names everything wrong."""
    parsed, body = form_of(exchange, raw, ReserveBody)
    call = exchange.call(parsed)
    judge_hold(parsed, policy, exchange.errors, default_tier="cart")
    if body is None or exchange.errors:
        raise exchange.refusal()
    return reserve_command(body, key, parsed, call.shop), call


async def read(site: Site, exchange: Exchange) -> Answer:
    """The reservation as it is, also long after it ended."""
    reservation_id = exchange.id_in_path()
    call = exchange.call({}, has_ack=False)
    if exchange.errors:
        raise exchange.refusal()
    return _told(await site.services.reservations.read(reservation_id, call))


async def extend(site: Site, exchange: Exchange) -> Answer:
    """A live hold has a new deadline, counted from now."""
    parsed, body = await read_form(exchange, ExtendBody, site.limits, is_optional=True)
    reservation_id = exchange.id_in_path()
    call = exchange.call(parsed)
    judge_hold(parsed, site.policy(), exchange.errors, default_tier=None)
    if body is None or exchange.errors:
        raise exchange.refusal()
    return _told(await site.services.reservations.extend(extend_command(reservation_id, body), call))


async def confirm(site: Site, exchange: Exchange) -> Answer:
    """A hold is a sale."""
    parsed, body = await read_form(exchange, ConfirmBody, site.limits, is_optional=True)
    reservation_id = exchange.id_in_path()
    call = exchange.call(parsed)
    if body is None or exchange.errors:
        raise exchange.refusal()
    return _told(await site.services.reservations.confirm(confirm_command(reservation_id, body), call))


def begin_confirm(site: Site, exchange: Exchange, ended: Ended) -> bool:
    """The same for a request in which nothing is wrong, without a task; see `Route.begin`."""
    return _begin_change(site, exchange, ended, ConfirmBody, confirm_command)


async def fulfil(site: Site, exchange: Exchange) -> Answer:
    """The units of a sale left the building."""
    parsed, body = await read_form(exchange, FulfilBody, site.limits, is_optional=True)
    reservation_id = exchange.id_in_path()
    call = exchange.call(parsed)
    if body is None or exchange.errors:
        raise exchange.refusal()
    return _told(await site.services.reservations.fulfil(fulfil_command(reservation_id, body), call))


def begin_fulfil(site: Site, exchange: Exchange, ended: Ended) -> bool:
    """The same for a request in which nothing is wrong, without a task; see `Route.begin`."""
    return _begin_change(site, exchange, ended, FulfilBody, fulfil_command)


async def release(site: Site, exchange: Exchange) -> Answer:
    """The units of a hold or of a sale are free again."""
    parsed, body = await read_form(exchange, ReleaseBody, site.limits, is_optional=True)
    reservation_id = exchange.id_in_path()
    call = exchange.call(parsed)
    if body is None or exchange.errors:
        raise exchange.refusal()
    return _told(await site.services.reservations.release(release_command(reservation_id, body), call))


def begin_release(site: Site, exchange: Exchange, ended: Ended) -> bool:
    """The same for a request in which nothing is wrong, without a task; see `Route.begin`."""
    return _begin_change(site, exchange, ended, ReleaseBody, release_command)


def _begin_change(
    site: Site,
    exchange: Exchange,
    ended: Ended,
    model: type[M],
    command_of: Callable[[str, M], Confirm | Fulfil | Release],
) -> bool:
    form = optional_form_at_hand(exchange, model, site.limits)
    if form is None:
        return False
    parsed, body = form
    reservation_id = exchange.id_in_path()
    call = exchange.call(parsed)
    if exchange.errors:
        return False
    ending = _Ending(_told, ended)
    return site.services.reservations.begin_change(command_of(reservation_id, body), call, ending.tell, ending.expect)


async def search(site: Site, exchange: Exchange) -> Answer:
    """A page of the reservations that match, from the durable store."""
    query = exchange.query
    for name in ("reference", "customer", "sku"):
        if name in query and not is_text(query[name]):
            exchange.wrong(name, PATTERN_WORDS[TEXT_PATTERN])
    if query.get("state", "held") not in LEGAL_MOVES:
        exchange.wrong("state", f"must be one of {', '.join(LEGAL_MOVES)}")
    limit, cursor = page_asked(exchange)
    call = exchange.call({}, has_ack=False)
    if exchange.errors:
        raise exchange.refusal()
    page = await site.services.reservations.search(
        call,
        reference=query.get("reference"),
        customer=query.get("customer"),
        sku=query.get("sku"),
        state=query.get("state"),
        limit=limit,
        cursor=cursor,
    )
    return Answer(200, to_json(reservation_page(page)))


def page_asked(exchange: Exchange) -> tuple[int, str | None]:
    """The limit and the cursor of a list."""
    cursor = exchange.query.get("cursor")
    if cursor is not None and not is_cursor(cursor):
        exchange.wrong("cursor", "must be a `next_cursor` of an earlier answer")
    return exchange.number_in_query("limit", PAGE_DEFAULT, PAGE_MAX), cursor


def _told(answer: ReservationAnswer) -> Answer:
    return Answer(200, reservation_answer(answer), headers=REPLAYED if answer.replayed else b"")


def judge_hold(
    parsed: Mapping[str, Any], policy: Policy, errors: list[FieldError], *, default_tier: str | None
) -> None:
    """Faults are added where the tier is none of the policy's, or the hold would last longer than the tier allows.

    It judges what was written, not the model, so that these faults are told together with those of form. Without a tier, and so
    with the reservation's own, only the service can judge the duration.
    """
    name = parsed.get("tier", default_tier)
    # A tier or duration of the wrong form was named already; the unhashable among them would not even look up.
    if not isinstance(name, str):
        return
    tier = policy.tiers.get(name)
    if tier is None:
        if not any(error.field == "tier" for error in errors):
            errors.append(FieldError("tier", f"must be one of {', '.join(sorted(policy.tiers))}"))
        return
    ttl_seconds = parsed.get("ttl_seconds")
    if type(ttl_seconds) is int and ttl_seconds > tier.ttl_seconds_max:
        errors[:] = [error for error in errors if error.field != "ttl_seconds"]
        errors.append(FieldError("ttl_seconds", f"must be at most {tier.ttl_seconds_max} in tier {name}"))


def reserve_command(body: ReserveBody | QuickReserve, key: str | None, parsed: dict[str, Any], shop: str) -> Reserve:
    """What is asked of the service; with a key also what tells this body from another under the same key."""
    return Reserve(
        [Wish(line.sku, line.quantity, line.location) for line in body.lines],
        body.tier,
        body.ttl_seconds,
        body.reference,
        body.customer,
        body.channel,
        body.locations,
        body.allow_partial,
        key,
        "" if key is None else body_fingerprint(parsed, shop),
    )


def body_fingerprint(parsed: dict[str, Any], shop: str, **level: str) -> str:
    """The same for bodies that are equal after parsing, wherever the shop and the level stood: body, query, path or batch."""
    meant = {**parsed, **level, "shop": shop}
    return fingerprint(orjson.dumps(meant, option=orjson.OPT_SORT_KEYS))


def extend_command(reservation_id: str, body: ExtendBody) -> Extend:
    """What is asked of the service."""
    return Extend(reservation_id, body.tier, body.ttl_seconds)


def confirm_command(reservation_id: str, body: ConfirmBody) -> Confirm:
    """What is asked of the service."""
    return Confirm(reservation_id, body.if_expired, body.fulfil)


def fulfil_command(reservation_id: str, _body: FulfilBody) -> Fulfil:
    """What is asked of the service."""
    return Fulfil(reservation_id)


def release_command(reservation_id: str, body: ReleaseBody) -> Release:
    """What is asked of the service."""
    return Release(reservation_id, body.reason)
