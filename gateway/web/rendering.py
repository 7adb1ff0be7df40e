"""What the service answers, in the shapes of the contract, as JSON bytes."""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.domain.answer import (
    LevelAnswer,
    ReservationAnswer,
    ReservationPage,
    Shortage,
    SkuAnswer,
    StockPage,
)
from gateway.domain.errors import FieldError
from gateway.domain.identifier import Position, ReservationId
from gateway.domain.instant import rfc3339, rfc3339_or_none
from gateway.domain.packed import PackedReservation
from gateway.domain.reservation import HELD, STATE_OF_LETTER, Reservation
from gateway.domain.stock import Level

# The dataclasses of the domain are no answers: they pass through to `_plain`, which knows their shapes.
_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS


def to_json(value: Any) -> bytes:
    """The value as JSON; domain objects inside it take their shapes of the contract."""
    return orjson.dumps(value, _plain, _OPTIONS)


def _plain(value: object) -> Any:
    match value:
        case Shortage():
            return shortage(value)
        case FieldError():
            return {"field": value.field, "message": value.message}
        case Position() | ReservationId():
            return str(value)
        case Reservation():
            return reservation(value)
        case set() | frozenset():
            return sorted(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no shape in the contract")


def reservation(told: Reservation) -> dict[str, Any]:
    """A reservation, without what the answer about it is worth."""
    return {
        "id": str(told.id),
        "shop": told.shop,
        "state": told.state,
        "tier": told.tier,
        "reference": told.reference or None,
        "customer": told.customer or None,
        "channel": told.channel or None,
        "lines": [{"sku": line.sku, "location": line.location, "quantity": line.quantity} for line in told.lines],
        "created_at": rfc3339(told.created_ms),
        "expires_at": rfc3339(told.deadline_ms) if told.state == HELD else None,
        "confirmed_at": rfc3339_or_none(told.confirmed_ms),
        "ended_at": rfc3339_or_none(told.ended_ms),
        "position": f"{told.id.shard}-{told.epoch}-{told.seq}",
    }


def reservation_answer(answer: ReservationAnswer, *, has_shortages: bool = False) -> bytes:
    """A reservation and what the answer is worth; `shortages` where there are some or partial holds were asked for."""
    told = answer.told
    if isinstance(told, PackedReservation):
        text = packed(told)
    else:
        text = to_json(reservation(told))[:-1].decode()
    text += ',"durable":true' if answer.durable else ',"durable":false'
    if answer.reacquired:
        text += ',"reacquired":true'
    if has_shortages or answer.shortages:
        text += f',"shortages":{to_json([shortage(short) for short in answer.shortages]).decode()}'
    return f"{text}}}".encode()


def packed(told: PackedReservation) -> str:
    """The text of `reservation`, without its last brace, straight from the text of the scripts.

    What stands here unquoted are names, numbers and instants: none holds a character that JSON would escape.
    """
    letter, deadline, epoch, seq, _, _, created, confirmed, ended, shop, tier, reference, customer, channel, _ = (
        told.head
    )
    words = '"reference":null,"customer":null,"channel":null'
    if reference or customer or channel:
        words = f'"reference":{_quoted(reference)},"customer":{_quoted(customer)},"channel":{_quoted(channel)}'
    ends = '"confirmed_at":null,"ended_at":null'
    if confirmed or ended:
        ends = f'"confirmed_at":{_instant(confirmed)},"ended_at":{_instant(ended)}'
    expires = f'"{rfc3339(int(deadline))}"' if letter == "h" else "null"
    return (
        f'{{"id":"{told.public_id}","shop":"{shop}","state":"{STATE_OF_LETTER[letter]}","tier":"{tier}",{words},'
        f'"lines":[{_lines(told.lines)}],"created_at":"{rfc3339(int(created))}","expires_at":{expires},{ends},'
        f'"position":"{told.shard}-{epoch}-{seq}"'
    )


def _lines(rows: str) -> str:
    fields = rows.replace("\n", "\t").split("\t")
    if len(fields) == 4:
        return f'{{"sku":{_quoted(fields[0])},"location":"{fields[1]}","quantity":{fields[2]}}}'
    # Quoted together, and parted again: within a quoted text no quotation mark stands without its backslash.
    skus = orjson.dumps(fields[::4]).decode()[2:-2].split('","')
    places = zip(skus, fields[1::4], fields[2::4], strict=True)
    return ",".join(
        [f'{{"sku":"{sku}","location":"{location}","quantity":{units}}}' for sku, location, units in places]
    )


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode() if text else "null"


def _instant(text: str) -> str:
    return f'"{rfc3339(int(text))}"' if text else "null"


def reservation_page(page: ReservationPage) -> dict[str, Any]:
    """A page of a search. What the durable store tells is durable."""
    found = [reservation(each) for each in page.reservations]
    for shape in found:
        shape["durable"] = True
    return {"reservations": found, "next_cursor": page.next_cursor, "as_of_position": str(page.as_of)}


def shortage(short: Shortage) -> dict[str, Any]:
    """Why a line is short."""
    return {
        "sku": short.sku,
        "location": short.location,
        "requested": short.requested,
        "available": short.available,
        "reason": short.reason,
        "next_release_at": rfc3339_or_none(short.next_release_ms),
    }


def level(told: Level, shard: int) -> dict[str, Any]:
    """The counters of one location. `available` is computed here and may be negative."""
    return {
        "location": told.location,
        "on_hand": told.on_hand,
        "held": told.held,
        "committed": told.committed,
        "deductions": {entry.source: entry.deduction for entry in told.sources.values() if entry.deduction},
        "safety_stock": told.safety_stock,
        "available": told.available,
        "sequences": {entry.source: entry.sequence for entry in told.sources.values()},
        "version": told.version,
        "position": f"{shard}-{told.epoch}-{told.seq}",
        "updated_at": rfc3339(told.updated_ms),
    }


def level_answer(answer: LevelAnswer) -> dict[str, Any]:
    """A level after a write, with where it is and what the answer is worth."""
    shape = {"sku": answer.sku, "shop": answer.shop}
    shape |= level(answer.level, answer.position.shard)
    # The answer's own position: of a write that changed nothing it is still the one that the answer waited for.
    shape["position"] = str(answer.position)
    worth: dict[str, Any] = {"durable": answer.durable}
    if answer.applied is not None:
        worth["applied"] = answer.applied
    return shape | worth


def sku_answer(answer: SkuAnswer) -> dict[str, Any]:
    """A sku with its totals and its levels by location."""
    sku = answer.sku
    return {
        "sku": sku.sku,
        "shop": sku.shop,
        "available": sku.total("available"),
        "on_hand": sku.total("on_hand"),
        "held": sku.total("held"),
        "committed": sku.total("committed"),
        "paused": sku.paused,
        "locations": [level(sku.levels[name], answer.shard) for name in sorted(sku.levels)],
        "position": str(answer.position),
        "durable": answer.durable,
    }


def stock_page(page: StockPage) -> dict[str, Any]:
    """A page of the catalogue."""
    return {
        "stock": [sku_answer(each) for each in page.stock],
        "next_cursor": page.next_cursor,
        "as_of_position": str(page.as_of),
    }
