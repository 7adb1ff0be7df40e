"""The laws between the log and what both stores hold at the end: K2, K3."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.faults.account import Account, Violation
from tests.faults.stores import NOTHING, Held, Place


def stores_agree(account: Account) -> Iterator[Violation]:
    """K2: the log gives the durable levels, and Redis holds nothing else. What is not in Redis loads on demand."""
    stores = account.stores
    for place in sorted(stores.levels.keys() | account.of_place.keys()):
        told = account.of_place[place][-1][1].after if account.of_place.get(place) else NOTHING
        stored = stores.levels.get(place, NOTHING)
        if told != stored:
            yield Violation("K2", "/".join(place), f"the durable level is {stored}, the log gives {told}")
    for place, hot in sorted(stores.hot_levels.items()):
        stored = stores.levels.get(place, NOTHING)
        if hot != stored:
            yield Violation("K2", "/".join(place), f"Redis has {hot}, the durable store {stored}")
    if stores.hot_seq != stores.checkpoint:
        yield Violation("K2", "seq", f"Redis is at {stores.hot_seq}, the durable store at {stores.checkpoint}")


def holds_add_up(account: Account) -> Iterator[Violation]:
    """K3: counters are sums of reservations, both stores know the same ones, and each live hold is indexed once."""
    stores = account.stores
    for id in sorted(stores.reservations.keys() | account.of_reservation.keys()):
        stored, told = stores.reservations.get(id), account.newest(id)
        if stored != told:
            yield Violation("K3", id, f"the durable row is {_short(stored)}, the log gives {_short(told)}")
        hot = stores.hot_reservations.get(id)
        if hot is not None and hot != stored:
            yield Violation("K3", id, f"Redis has {_short(hot)}, the durable store {_short(stored)}")
    for id in sorted(stores.hot_reservations.keys() - stores.reservations.keys()):
        yield Violation("K3", id, "is in Redis alone")
    held, committed = _sums(stores.reservations)
    for place in sorted(stores.levels.keys() | held.keys() | committed.keys()):
        level = stores.levels.get(place, NOTHING)
        for name, counted, summed in (("held", level[1], held[place]), ("committed", level[2], committed[place])):
            if counted != summed:
                yield Violation("K3", "/".join(place), f"{name} is {counted}, the reservations hold {summed}")
    yield from _indexes(account)
    yield from _requests(account)


def _indexes(account: Account) -> Iterator[Violation]:
    stores = account.stores
    wanted: dict[str, dict[str, int]] = defaultdict(dict)
    for one in stores.reservations.values():
        if one.state == "held":
            for sku, *_ in one.lines:
                wanted[f"{one.shop}/{sku}"][one.id] = one.deadline_ms
            if one.id not in stores.hot_reservations:
                yield Violation("K3", one.id, "is held, and Redis does not know it")
    for name in sorted(wanted.keys() | stores.hot_holds.keys()):
        live, indexed = wanted.get(name, {}), stores.hot_holds.get(name, {})
        for id in sorted(live.keys() | indexed.keys()):
            if live.get(id) != indexed.get(id):
                detail = f"its deadline is {live.get(id)}, the index of {name} says {indexed.get(id)}"
                yield Violation("K3", id, detail)
    for name in sorted(wanted.keys() | stores.hot_due.keys()):
        first = min(wanted[name].values()) if wanted.get(name) else None
        if stores.hot_due.get(name) != first:
            yield Violation(
                "K3", name, f"its first deadline is {first}, the shard's index says {stores.hot_due.get(name)}"
            )


def _requests(account: Account) -> Iterator[Violation]:
    stores = account.stores
    told = {record: found[-1].request for record, found in account.of_record.items()}
    for record in sorted(stores.requests.keys() | told.keys()):
        request = told.get(record)
        if stores.requests.get(record) != (None if request is None else request[1:]):
            detail = f"the table says {stores.requests.get(record)}, the log {request and request[1:]}"
            yield Violation("K3", f"record {record}", detail)
    for one in stores.reservations.values():
        if one.record and stores.requests.get(one.record) != ("reserve", one.id):
            yield Violation("K3", one.id, f"its key's record names {stores.requests.get(one.record)}")


def _sums(reservations: dict[str, Held]) -> tuple[Counter[Place], Counter[Place]]:
    held: Counter[Place] = Counter()
    committed: Counter[Place] = Counter()
    for one in reservations.values():
        sums = {"held": held, "confirmed": committed}.get(one.state)
        if sums is not None:
            for sku, location, quantity, is_settled in one.lines:
                sums[one.shop, sku, location] += 0 if is_settled else quantity
    return held, committed


def _short(one: Held | None) -> str:
    return "absent" if one is None else f"{one.state} at {one.epoch}-{one.seq} until {one.deadline_ms}"
