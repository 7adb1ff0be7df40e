"""The body of a reserve, judged in one step where it is right; where it is not, the models of `bodies.py` say why.

Every checkout sends this body, and nearly every one is right. pydantic reads an object that was parsed before and names each fault;
msgspec reads the bytes and stops at the first. Both together would be the cost of both, so the quick one only ever says "right" or
nothing. Measured on the way of a reservation: 25.5 µs become 23.6.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gateway.web.bodies import LINES_MAX, TTL_SECONDS_MAX
from gateway.web.fields import QUANTITY_MAX, TEXT_CHARS_MAX, is_name, is_text

BODIES_KEPT: Final = 16_384
BYTES_KEPT: Final = 160

Word = Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX)]


class QuickLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """As `LineBody`; what its texts may hold is judged by `_is_well_worded`."""

    sku: Word
    quantity: Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]
    location: Word | None = None


class QuickReserve(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """As `ReserveBody`."""

    lines: Annotated[list[QuickLine], Meta(min_length=1, max_length=LINES_MAX)]
    shop: Word | None = None
    tier: Word = "cart"
    ttl_seconds: Annotated[int, Meta(ge=1, le=TTL_SECONDS_MAX)] | None = None
    reference: Word | None = None
    customer: Word | None = None
    channel: Word | None = None
    locations: Annotated[list[Word], Meta(min_length=1, max_length=LINES_MAX)] | None = None
    allow_partial: bool = False


_decode = msgspec.json.Decoder(QuickReserve).decode
_encode = msgspec.json.Encoder().encode


def quick_reserve(raw: bytes) -> QuickReserve | None:
    """The body, if it is right in all that can be judged without the policy; None says nothing about it."""
    return _judged_before(raw) if len(raw) <= BYTES_KEPT else _judged(raw)


def _judged(raw: bytes) -> QuickReserve | None:
    try:
        body = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    # A key that stands twice counts once when the body is written again, and its colon is missing. That holds for bytes without
    # escapes, whose strings are written as they were read. A default that was written out is missing, too: then it takes the long way.
    if b"\\" in raw or raw.count(b":") != _encode(body).count(b":") or not _is_well_worded(body):
        return None
    return body


#: The same short bodies come again and again: in a sale for one product one unit of it, two, …; else one unit of each sku. A body
#: that was kept saves 3 of 25 µs. Those that are kept take 12 MB at most, where each has a text of its own.
_judged_before: Final = lru_cache(BODIES_KEPT)(_judged)


def _is_well_worded(body: QuickReserve) -> bool:
    for line in body.lines:
        if not is_text(line.sku) or (line.location is not None and not is_name(line.location)):
            return False
    for text in (body.reference, body.customer):
        if text is not None and not is_text(text):
            return False
    for name in (body.shop, body.channel, *(body.locations or ())):
        if name is not None and not is_name(name):
            return False
    return body.tier == "cart" or is_name(body.tier)
