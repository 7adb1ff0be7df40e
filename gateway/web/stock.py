"""`/v1/stock`: what there is of a sku, and what sources and people say about it."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from gateway.domain.answer import SkuAnswer
from gateway.domain.command import Adjust, Pause, PutLevel
from gateway.domain.errors import GatewayError
from gateway.web.bodies import AdjustBody, PauseBody, PutLevelBody, QueryBody
from gateway.web.exchange import Exchange
from gateway.web.reading import read_form
from gateway.web.rendering import level_answer, sku_answer, stock_page, to_json
from gateway.web.reservations import REPLAYED, body_fingerprint, page_asked
from gateway.web.route import Ended
from gateway.web.site import Site
from gateway.web.wire import Answer


async def read(site: Site, exchange: Exchange) -> Answer:
    """The sku with all its levels, read in the order of writes."""
    sku = exchange.text_in_path(0, "sku")
    call = exchange.call({}, has_ack=False)
    if exchange.errors:
        raise exchange.refusal()
    return Answer(200, to_json(sku_answer(await site.services.stock.read(sku, call))))


def begin_read(site: Site, exchange: Exchange, ended: Ended) -> bool:
    """The same for a request in which nothing is wrong, without a task; see `Route.begin`."""
    if not exchange.request.content.is_eof():
        return False
    sku = exchange.text_in_path(0, "sku")
    call = exchange.call({}, has_ack=False)
    if exchange.errors:
        return False

    def read(outcome: SkuAnswer | GatewayError | None) -> None:
        ended(partial(_LAST.answer, outcome) if isinstance(outcome, SkuAnswer) else outcome)

    return site.services.stock.begin_read(sku, call, read)


class _Last:
    """The sku that was told last, as text: who reads it at one moment gets one answer, which is written once."""

    def __init__(self) -> None:
        self._told: SkuAnswer | None = None
        self._text = b""

    def answer(self, told: SkuAnswer) -> Answer:
        """The answer to one of them."""
        if told is not self._told:
            self._told, self._text = told, to_json(sku_answer(told))
        return Answer(200, self._text)


_LAST: Final = _Last()


async def query(site: Site, exchange: Exchange) -> Answer:
    """The skus that exist, in the order asked, and the names of the others."""
    parsed, body = await read_form(exchange, QueryBody, site.limits)
    call = exchange.call(parsed, has_ack=False)
    if body is None or exchange.errors:
        raise exchange.refusal()
    # A sku that is asked for twice is answered once.
    found, not_found = await site.services.stock.query(list(dict.fromkeys(body.skus)), call)
    return Answer(200, to_json({"stock": [sku_answer(each) for each in found], "not_found": not_found}))


async def catalogue(site: Site, exchange: Exchange) -> Answer:
    """A page of the catalogue, from the durable store."""
    limit, cursor = page_asked(exchange)
    call = exchange.call({}, has_ack=False)
    if exchange.errors:
        raise exchange.refusal()
    return Answer(200, to_json(stock_page(await site.services.stock.catalogue(call, limit=limit, cursor=cursor))))


async def put_level(site: Site, exchange: Exchange) -> Answer:
    """What the source told stands in the books, unless it was told before."""
    parsed, body = await read_form(exchange, PutLevelBody, site.limits)
    sku, location = exchange.text_in_path(0, "sku"), exchange.name_in_path(1, "location")
    if_match = exchange.version_seen()
    call = exchange.call(parsed)
    if parsed.get("reflects") and parsed.get("on_hand") is None:
        # "This count no longer contains them" says nothing where there is no count.
        exchange.wrong("on_hand", "is required together with `reflects`")
    if body is None or exchange.errors:
        raise exchange.refusal()
    command = PutLevel(
        sku,
        location,
        body.source,
        body.sequence,
        body.on_hand,
        body.deduction,
        body.safety_stock,
        tuple(dict.fromkeys(body.reflects or ())),
        if_match,
    )
    return Answer(200, to_json(level_answer(await site.services.stock.put_level(command, call))))


async def adjust(site: Site, exchange: Exchange) -> Answer:
    """`on_hand` has moved by `delta`, once per key."""
    parsed, body = await read_form(exchange, AdjustBody, site.limits)
    key = exchange.idempotency_key(is_required=True)
    sku, location = exchange.text_in_path(0, "sku"), exchange.name_in_path(1, "location")
    if_match = exchange.version_seen()
    call = exchange.call(parsed)
    if body is None or key is None or exchange.errors:
        raise exchange.refusal()
    command = adjust_command(sku, location, body, key, parsed, call.shop, if_match)
    answer = await site.services.stock.adjust(command, call)
    return Answer(200, to_json(level_answer(answer)), headers=REPLAYED if answer.replayed else b"")


def adjust_command(
    sku: str,
    location: str,
    body: AdjustBody,
    key: str,
    parsed: dict[str, Any],
    shop: str,
    if_match: int | None = None,
) -> Adjust:
    """What is asked of the service."""
    told = body_fingerprint(parsed, shop, sku=sku, location=location)
    return Adjust(sku, location, body.delta, body.reason, body.reference, key, told, if_match)


async def pause(site: Site, exchange: Exchange) -> Answer:
    """The sku takes no new reservation; open ones live on."""
    return await _set_paused(site, exchange, paused=True)


async def resume(site: Site, exchange: Exchange) -> Answer:
    """The sku is on sale again."""
    return await _set_paused(site, exchange, paused=False)


async def _set_paused(site: Site, exchange: Exchange, *, paused: bool) -> Answer:
    parsed, body = await read_form(exchange, PauseBody, site.limits, is_optional=True)
    sku = exchange.text_in_path(0, "sku")
    call = exchange.call(parsed)
    if body is None or exchange.errors:
        raise exchange.refusal()
    answer = await site.services.stock.pause(Pause(sku, paused, body.reason), call)
    return Answer(200, to_json(sku_answer(answer)))
