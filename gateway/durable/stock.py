"""Skus and levels as they are read: complete, from one state of the store.

A sku is three tables, and read in pieces they could be of different commits. So they come as one statement, the
kinds told apart by the first column: one state and one round trip in either dialect.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from itertools import groupby
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, String, case, literal_column, or_, select, tuple_, union_all

from gateway.domain.stock import Level, Sku, SourceEntry
from gateway.durable.database import Connection
from gateway.durable.schema import level_sources, levels, skus
from gateway.durable.statement import IsAmong, Statement, among, number, word

_LEVEL: Final = 0
_SOURCE: Final = 1
_PAUSE: Final = 2

_NUMBERS: Final = 9
_COUNTERS: Final = (
    levels.c.on_hand,
    levels.c.held,
    levels.c.committed,
    levels.c.deducted,
    levels.c.safety_stock,
    levels.c.version,
    levels.c.epoch,
    levels.c.seq,
    levels.c.updated_ms,
)


def _kind(kind: int, names: Sequence[ColumnElement[Any]], numbers: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """Rows of one kind: kind, sku, location, two words, nine numbers; empty and 0 where a kind has fewer."""
    no_word: ColumnElement[Any] = literal_column("''", String())
    none: ColumnElement[Any] = literal_column("0")
    words = [*names, *[no_word] * (4 - len(names))]
    filled = [*numbers, *[none] * (_NUMBERS - len(numbers))]
    columns = [literal_column(str(kind)), *words, *filled]
    return select(*(column.label(f"column_{at}") for at, column in enumerate(columns)))


_IS_PAUSED: Final = case((skus.c.paused, 1), else_=0)
_SKUS: Final = Statement(
    union_all(
        _kind(_LEVEL, [levels.c.sku, levels.c.location], _COUNTERS).where(
            levels.c.shop == word("of_shop"), IsAmong(levels.c.sku, "names")
        ),
        _kind(
            _SOURCE,
            [level_sources.c.sku, level_sources.c.location, level_sources.c.source, level_sources.c.digest],
            [level_sources.c.sequence, level_sources.c.deduction],
        ).where(level_sources.c.shop == word("of_shop"), IsAmong(level_sources.c.sku, "names")),
        _kind(
            _PAUSE,
            [skus.c.sku, literal_column("''", String()), skus.c.reason],
            [_IS_PAUSED, skus.c.epoch, skus.c.seq],
        ).where(skus.c.shop == word("of_shop"), IsAmong(skus.c.sku, "names")),
        # By kind, so that a level comes before its sources; then by name.
    ).order_by("column_0", "column_1", "column_2", "column_3")
)
_NAMES: Final = Statement(
    select(levels.c.sku)
    .distinct()
    .where(levels.c.shop == word("of_shop"), levels.c.sku > word("after"))
    .order_by(levels.c.sku)
    .limit(number("page"))
)
_WITH_HOLDS: Final = Statement(
    select(levels.c.shop, levels.c.sku)
    .distinct()
    .where(
        levels.c.shard == number("of_shard"),
        or_(levels.c.held != 0, levels.c.committed != 0),
        tuple_(levels.c.shop, levels.c.sku) > tuple_(word("after_shop"), word("after_sku")),
    )
    .order_by(levels.c.shop, levels.c.sku)
    .limit(number("page"))
)
_LEVELS: Final = Statement(
    select(levels.c.shop, levels.c.sku, levels.c.location, *_COUNTERS)
    .where(
        levels.c.shard == number("of_shard"),
        tuple_(levels.c.shop, levels.c.sku, levels.c.location)
        > tuple_(word("after_shop"), word("after_sku"), word("after_location")),
    )
    .order_by(levels.c.shop, levels.c.sku, levels.c.location)
    .limit(number("page"))
)


async def read_skus(connection: Connection, shop: str, names: Sequence[str]) -> dict[str, Sku]:
    """The named skus that have a level or are paused, by name."""
    found: dict[str, Sku] = {}
    for kind, name, location, first, second, *numbers in await connection.fetch(
        _SKUS, of_shop=shop, names=among(connection.dialect, names)
    ):
        sku = found.get(name) or found.setdefault(name, Sku(shop, name, False, "", {}))
        if kind == _LEVEL:
            sku.levels[location] = Level(location, *numbers)
        elif kind == _SOURCE:
            sku.levels[location].sources[first] = SourceEntry(first, numbers[0], numbers[1], second)
        else:
            sku.paused, sku.reason, sku.epoch, sku.seq = bool(numbers[0]), first, numbers[1], numbers[2]
    return {name: sku for name, sku in sorted(found.items()) if sku.levels or sku.paused}


async def list_skus(connection: Connection, shop: str, after: str, limit: int) -> list[Sku]:
    """As `Ledger.list_skus`; on a snapshot."""
    names = [name for (name,) in await connection.fetch(_NAMES, of_shop=shop, after=after, page=limit)]
    return list((await read_skus(connection, shop, names)).values()) if names else []


async def skus_with_holds(connection: Connection, shard: int, page: int) -> AsyncGenerator[list[Sku], None]:
    """As `Ledger.skus_with_holds`; on a snapshot."""
    last = ("", "")
    while True:
        names = await connection.fetch(_WITH_HOLDS, of_shard=shard, after_shop=last[0], after_sku=last[1], page=page)
        if not names:
            return
        found: list[Sku] = []
        for shop, pairs in groupby(names, key=lambda pair: pair[0]):
            found += (await read_skus(connection, shop, [sku for _, sku in pairs])).values()
        yield found
        last = (names[-1][0], names[-1][1])


async def all_levels(
    connection: Connection, shard: int, page: int
) -> AsyncGenerator[list[tuple[tuple[str, str, str], Level]], None]:
    """Every level of a shard without its sources, with (shop, sku, location), in pages; on a snapshot."""
    last = ("", "", "")
    while True:
        rows = await connection.fetch(
            _LEVELS,
            of_shard=shard,
            after_shop=last[0],
            after_sku=last[1],
            after_location=last[2],
            page=page,
        )
        if not rows:
            return
        yield [((shop, sku, place), Level(place, *rest)) for shop, sku, place, *rest in rows]
        last = (rows[-1][0], rows[-1][1], rows[-1][2])
