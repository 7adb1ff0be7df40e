"""The sample catalogue of a first run, and what to try with it."""

from __future__ import annotations

import sys
from typing import NamedTuple

from gateway.domain.command import Call, PutLevel
from gateway.domain.errors import StaleSequence
from gateway.service.stock import StockService


class SampleLevel(NamedTuple):
    """One level of the sample catalogue."""

    sku: str
    location: str
    on_hand: int
    safety_stock: int


SAMPLE = (
    SampleLevel("LANTERN-WHITE", "main", 50, 0),
    SampleLevel("LANTERN-WHITE", "outlet", 8, 0),
    SampleLevel("TEA-TOWEL-BLUE", "main", 200, 5),
    SampleLevel("LAST-ONE", "main", 1, 0),
    SampleLevel("MUG-HEART", "main", 120, 0),
)


async def load_sample(stock: StockService) -> None:
    """The sample levels exist; levels that were told before keep what they have. Safe to repeat."""
    call = Call(shop="main", actor="sample")
    for level in SAMPLE:
        put = PutLevel(level.sku, level.location, "sample", 1, on_hand=level.on_hand, safety_stock=level.safety_stock)
        try:
            await stock.put_level(put, call)
        except StaleSequence:
            continue  # an earlier version told another sample; what is there stands


def tell_sample(address: str) -> None:
    """What to try is on the terminal: three commands that work when pasted, and where the documentation is."""
    body = '{"lines":[{"sku":"LANTERN-WHITE","quantity":2}]}'
    sys.stdout.write(
        f"""
The Reservation Gateway answers at {address}  (Ctrl-C ends it)

Read a sku's stock, hold two of it for five minutes, and see what is held:

  curl -s {address}/v1/stock/LANTERN-WHITE

  curl -s '{address}/v1/reservations?ack=durable' -H 'Content-Type: application/json' -d '{body}'

  curl -s '{address}/v1/reservations?sku=LANTERN-WHITE&state=held'

Documentation: {address}/docs

"""
    )
    sys.stdout.flush()
