"""The levels of a shop as a client reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.cli.answer import AnswerUnreadable
from gateway.cli.remote import Remote

#: Skus of one query: the gateway takes 1000; fewer keep the answer small.
QUERY_SKUS = 500

LevelKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LevelRead:
    """The counters of one (sku, location) as an answer tells them. `reserved_aside` = deductions + safety
    stock.
    """

    on_hand: int
    held: int
    committed: int
    available: int
    reserved_aside: int = 0


@dataclass(slots=True)
class StockRead:
    """What one reading of the stock brought: every level, the sku's own totals, and the skus that do not
    exist.
    """

    levels: dict[LevelKey, LevelRead]
    totals: dict[str, LevelRead]
    not_found: list[str]


async def read_levels(remote: Remote, skus: Iterable[str]) -> StockRead:
    """The levels of the skus, by (sku, location).

    Raises:
        AnswerUnreadable: an answer leaves a sku out, or lacks a counter.
        Denied, GaveUp: as the calls.
    """
    read = StockRead({}, {}, [])
    wanted = sorted(skus)
    for at in range(0, len(wanted), QUERY_SKUS):
        chunk = wanted[at : at + QUERY_SKUS]
        answer = await remote.post("/v1/stock/query", {"skus": chunk})
        body = answer.required("reading the stock")
        try:
            told = {str(stock["sku"]): stock for stock in body["stock"]}
            missing = [str(sku) for sku in body["not_found"]]
            if sorted([*told, *missing]) != chunk:
                raise AnswerUnreadable(
                    f"a query of {len(chunk)} skus was answered for {len(told) + len(missing)} others"
                )
            for sku, stock in told.items():
                read.totals[sku] = _counters(stock, 0)
                for level in stock["locations"]:
                    aside = sum(level["deductions"].values()) + level["safety_stock"]
                    read.levels[sku, str(level["location"])] = _counters(level, aside)
        except (KeyError, TypeError, AttributeError) as exc:
            raise AnswerUnreadable(f"an answer to /v1/stock/query lacks {exc}") from exc
        read.not_found += missing
    return read


def _counters(body: Mapping[str, Any], aside: int) -> LevelRead:
    on_hand, held, committed, available = (body[name] for name in ("on_hand", "held", "committed", "available"))
    if not all(type(number) is int for number in (on_hand, held, committed, available, aside)):
        raise TypeError("a counter that is a whole number")
    return LevelRead(on_hand, held, committed, available, aside)
