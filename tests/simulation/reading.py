"""What the tables of the simulated database hold, in the shapes of the ledger and of the checker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.domain.stock import Level, Sku, SourceEntry
from gateway.durable import schema
from gateway.durable.ledger import EventRow, RequestRow, StoredReservation
from gateway.durable.written import written_columns
from tests.faults.reading import _levels
from tests.faults.stores import Row, Stores, parse_held
from tests.simulation.database import Tables
from tests.simulation.keyspace import SortedSet
from tests.simulation.server import RedisServer

_COLUMNS: Final = {
    name: {column: at for at, column in enumerate(written_columns(schema.metadata.tables[name]))}
    for name in ("events", "reservations", "levels", "level_sources", "skus", "requests")
}
META: Final = "{rg0}:meta"


def _picked(table: str, row: Sequence[Any], *names: str) -> list[Any]:
    columns = _COLUMNS[table]
    return [row[columns[name]] for name in names]


_COUNTERS: Final = (
    "on_hand",
    "held",
    "committed",
    "deducted",
    "safety_stock",
    "version",
    "epoch",
    "seq",
    "updated_ms",
)


def skus_of(tables: Tables, shop: str, names: Sequence[str]) -> dict[str, Sku]:
    """As `Ledger.read_skus`."""
    found: dict[str, Sku] = {}

    def sku(name: str) -> Sku:
        return found.setdefault(name, Sku(shop, name, False, "", {}))

    for (of_shop, name, location), row in sorted(tables.rows["levels"].items()):
        if of_shop == shop and name in names:
            sku(name).levels[location] = Level(location, *_picked("levels", row, *_COUNTERS))
    for (of_shop, name, location, source), row in sorted(tables.rows["level_sources"].items()):
        if of_shop == shop and name in names:
            told = _picked("level_sources", row, "sequence", "deduction", "digest")
            sku(name).levels[location].sources[source] = SourceEntry(source, *told)
    for (of_shop, name), row in sorted(tables.rows["skus"].items()):
        if of_shop == shop and name in names:
            one = sku(name)
            one.paused, one.reason, one.epoch, one.seq = _picked("skus", row, "paused", "reason", "epoch", "seq")
    return {name: one for name, one in sorted(found.items()) if one.levels or one.paused}


def skus_with_holds_of(tables: Tables, shard: int) -> list[Sku]:
    """As `Ledger.skus_with_holds`."""
    names = {
        (key[0], key[1])
        for key, row in tables.rows["levels"].items()
        if row[0] == shard and any(_picked("levels", row, "held", "committed"))
    }
    return [skus_of(tables, shop, [sku])[sku] for shop, sku in sorted(names)]


def levels_of(tables: Tables, shard: int) -> dict[tuple[str, str, str], Level]:
    """Every level without its sources."""
    return {
        key: Level(key[2], *_picked("levels", row, *_COUNTERS))
        for key, row in sorted(tables.rows["levels"].items())
        if row[0] == shard
    }


def packed_of(tables: Tables, random_part: str) -> str | None:
    """As `Ledger.read_reservation`."""
    row = tables.rows["reservations"].get((random_part,))
    return None if row is None else _picked("reservations", row, "packed")[0]


def live_of(tables: Tables, shard: int) -> list[tuple[str, str, str]]:
    """(random part, state, packed) of every held or confirmed one."""
    rows = [
        _picked("reservations", row, "id", "state", "packed", "shop", "created_ms")
        for row in tables.rows["reservations"].values()
        if row[0] == shard
    ]
    rows.sort(key=lambda row: (row[3], row[1], row[4], row[0]))
    return [(row[0], row[1], row[2]) for row in rows if row[1] in {"held", "confirmed"}]


def stored_of(tables: Tables, shard: int | None) -> list[StoredReservation]:
    """Every reservation by random part."""
    return sorted(
        StoredReservation(*_picked("reservations", row, "id", "state", "seq", "packed"))
        for row in tables.rows["reservations"].values()
        if shard in (None, row[0])
    )


def request_of(tables: Tables, record: str) -> RequestRow | None:
    """As `Ledger.read_request`."""
    row = tables.rows["requests"].get((record,))
    names = ("record", "operation", "fingerprint", "target", "epoch", "seq", "at_ms")
    return None if row is None else RequestRow(*_picked("requests", row, *names))


def events_of(tables: Tables, shard: int) -> list[EventRow]:
    """Every event by seq."""
    names = ("epoch", "seq", "entry_seq", "type", "at_ms", "shop", "reservation", "payload", "digest")
    return [
        EventRow(*_picked("events", row, *names))
        for key, row in sorted(tables.rows["events"].items())
        if key[0] == shard
    ]


def stores_of(tables: Tables, server: RedisServer, read_ms: int) -> Stores:
    """Both stores, as the checker wants them."""
    shard = tables.shards[0]
    stores = Stores(read_ms=read_ms, checkpoint=shard.checkpoint, epoch=shard.epoch, digest=shard.digest)
    stores.epoch_ends = {key[1]: end for key, end in tables.ends.items()}
    names = ("seq", "epoch", "entry_seq", "type", "at_ms", "shop", "payload", "digest")
    stores.rows = [
        Row(*_picked("events", row, *names)) for key, row in sorted(tables.rows["events"].items()) if key[0] == 0
    ]
    counters = ("on_hand", "held", "committed", "deducted", "safety_stock")
    for place, row in tables.rows["levels"].items():
        on_hand, held, committed, deducted, safety = _picked("levels", row, *counters)
        stores.levels[place] = (on_hand, held, committed, deducted, safety)
    for key, row in tables.rows["reservations"].items():
        stores.reservations[key[0]] = parse_held(key[0], _picked("reservations", row, "packed")[0])
    for key, row in tables.rows["requests"].items():
        operation, target = _picked("requests", row, "operation", "target")
        stores.requests[key[0]] = (operation, target)
    _read_hot(stores, server)
    return stores


def _read_hot(stores: Stores, server: RedisServer) -> None:
    keys = server.keys
    keys.now_ms = server.now_us() // 1000
    meta = keys.get(META, dict) or {}
    base = f"{{rg0}}:{meta.get('gen')}:"
    stores.hot_seq = int(meta.get("seq", 0))
    for name in keys.names():
        if not name.startswith(base):
            continue
        kind, _, rest = name.removeprefix(base).partition(":")
        if kind == "s":
            stores.hot_levels |= _levels(rest, keys.get(name, dict))
        elif kind == "r":
            stores.hot_reservations[rest] = parse_held(rest, keys.get(name, str))
        elif kind == "d":
            stores.hot_holds[rest] = {id: int(score) for score, id in keys.get(name, SortedSet).order}
    due = keys.get(f"{base}due", SortedSet)
    if due is not None:
        stores.hot_due = {name: int(score) for score, name in due.order}
