"""The laws that hold after every test, whatever it did: the keys of the shard against the history that its log tells."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from gateway.domain.event import CHECKPOINT, CONFIRMED, EXPIRED, OPENED, RELEASED, RESERVED, SHIPPED, Event
from gateway.domain.reservation import HELD, Reservation, parse_reservation
from gateway.domain.stock import Level, parse_level
from gateway.domain.totals import Totals, parse_totals
from tests.lua.warehouse import Warehouse

Place = tuple[str, str]  # shop/sku, location
LEGAL_BEFORE = {
    RESERVED: {None},
    CONFIRMED: {"held", "expired"},
    SHIPPED: {"confirmed"},
    RELEASED: {"held", "confirmed"},
    EXPIRED: {"held"},
}


@dataclass
class Told:
    """What the history says there is: the newest of everything."""

    levels: dict[Place, list[int]] = field(default_factory=dict)
    versions: Counter[Place] = field(default_factory=Counter)
    positions: dict[Place, tuple[int, int]] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    packed: dict[str, str] = field(default_factory=dict)
    sources: dict[Place, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    paused: dict[str, tuple[bool, str]] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)

    @property
    def totals(self) -> Totals:
        """The counters of all levels, added up."""
        on_hand, held, committed, deducted, _ = map(sum, zip([0] * 5, *self.levels.values(), strict=True))
        return Totals(held, on_hand, committed, deducted)

    def add(self, event: Event) -> None:
        """One event more; each must fit what came before."""
        reservation: list[str] | None = None
        lines: list[str] = []
        for letter, *fields in event.facts:
            if letter == "R":
                reservation = fields
            elif letter == "I":
                lines.append("\t".join(fields))
            elif letter == "L":
                self._move(event, fields)
            elif letter == "S":
                sku, location, source, sequence, deduction, digest = fields
                rows = self.sources[f"{event.shop}/{sku}", location]
                assert int(rows.get(source, "0\t0").split("\t")[0]) <= int(sequence), "a lower sequence overwrote"
                rows[source] = f"{sequence}\t{deduction}\t{digest}"
            elif letter == "K":
                sku, paused, reason = fields
                self.paused[f"{event.shop}/{sku}"] = (paused == "1", reason)
            elif letter == "T":
                assert event.type == CHECKPOINT, event.payload
                assert parse_totals(" ".join(fields)) == self.totals, event.payload
            else:
                assert letter == "Q", event.payload
                name, operation, fingerprint, target = fields
                assert name not in self.requests, "one key took effect twice"
                self.requests[name] = f"{fingerprint}\t{operation}\t{target}\t{event.epoch}\t{event.seq}"
        if reservation is not None:
            self._change(event, reservation, lines)

    def _move(self, event: Event, fields: list[str]) -> None:
        """The deltas from zero give the counters that the event tells."""
        sku, location, *words = fields
        place = (f"{event.shop}/{sku}", location)
        numbers = [int(word) for word in words]
        counters, version, deltas = numbers[:5], numbers[5], numbers[6:]
        before = self.levels.get(place, [0] * 5)
        assert [a + b for a, b in zip(before, deltas, strict=True)] == counters, event.payload
        self.versions[place] += 1
        assert version == self.versions[place], event.payload
        self.levels[place], self.positions[place] = counters, (event.epoch, event.seq)

    def _change(self, event: Event, fields: list[str], lines: list[str]) -> None:
        id, packed = fields[0], "\n".join(["\t".join(fields[1:]), *lines])
        now = parse_reservation(0, id, packed)
        before = self.reservations.get(id)
        if event.type in LEGAL_BEFORE:
            assert (before.state if before else None) in LEGAL_BEFORE[event.type], event.payload
        assert (now.epoch, now.seq) == (event.epoch, event.seq)
        assert now.pack() == packed, "Python and Lua write a reservation differently"
        if before is not None:
            kept = [(line.sku, line.location, line.quantity) for line in before.lines]
            assert kept == [(line.sku, line.location, line.quantity) for line in now.lines]
            assert before.id == now.id
        self.reservations[id], self.packed[id] = now, packed


async def audit(warehouse: Warehouse) -> Told:
    """Every law holds. Returns what the history told."""
    told = Told()
    for event in await warehouse.remember():
        told.add(event)
    contents = await warehouse.snapshot()
    lives = {key: int(await warehouse.call("PTTL", key)) for key in contents}
    _meta(warehouse, told, contents)
    _promises(told)
    base = warehouse.keys.base
    by_kind: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, content in contents.items():
        if key in (warehouse.keys.meta, warehouse.keys.log, warehouse.keys.due):
            assert lives[key] == -1, f"{key} would expire"
            continue
        assert key.startswith(base), f"{key} is nobody's"
        kind, colon, name = key.removeprefix(base).partition(":")
        assert f"{kind}{colon}" in ("s:", "d:", "r:", "q:", "t:"), f"{key} is nobody's"
        by_kind[kind][name] = content
    _due(warehouse, told, by_kind, contents, lives)
    checkpoint = int(contents[warehouse.keys.meta]["checkpoint"])
    for name, fields in by_kind["s"].items():
        _sku(told, name, fields, checkpoint, lives[f"{base}s:{name}"])
    held_skus = {place[0] for place, counters in told.levels.items() if counters[1]}
    assert held_skus <= set(by_kind["s"]), "a sku with open holds is gone"
    for id, text in by_kind["r"].items():
        assert text == told.packed[id]
        reservation, life = told.reservations[id], lives[f"{base}r:{id}"]
        assert life == -1 or (reservation.state != HELD and reservation.seq <= checkpoint), f"hold {id} would expire"
    assert {id for id, r in told.reservations.items() if r.state == HELD} <= set(by_kind["r"]), "a hold is gone"
    for name, text in by_kind["q"].items():
        assert text == told.requests[name]
        _request(told, name, text, checkpoint, lives[f"{base}q:{name}"])
    return told


def _meta(warehouse: Warehouse, told: Told, contents: dict[str, Any]) -> None:
    meta = contents[warehouse.keys.meta]
    assert "poison" not in meta
    assert (int(meta["seq"]), meta["digest"]) == (warehouse.history[-1].seq, warehouse.digest)
    assert int(meta["checkpoint"]) <= int(meta["seq"])
    assert meta["totals"] == told.totals.pack(), "the totals are not the sums over all levels"
    _checkpoints(warehouse)


def _checkpoints(warehouse: Warehouse) -> None:
    """The entries that end with a checkpoint event are those whose other events reach a multiple of a thousand."""
    first = 1
    for last in warehouse.entry_ends:
        events = warehouse.history[first - 1 : last]
        told = [event.seq for event in events if event.type == CHECKPOINT]
        changes = [event.seq for event in events if event.type not in (CHECKPOINT, OPENED)]
        assert told == ([last] if any(seq % 1000 == 0 for seq in changes) else []), events[-1].payload
        first = last + 1


def _promises(told: Told) -> None:
    """held = the sum of open held lines; committed = the sum of confirmed lines that are not settled."""
    held: Counter[Place] = Counter()
    committed: Counter[Place] = Counter()
    for r in told.reservations.values():
        for line in r.lines:
            place = (f"{r.shop}/{line.sku}", line.location)
            if r.state == "held":
                held[place] += line.quantity
            elif r.state == "confirmed" and not line.settled:
                committed[place] += line.quantity
    for place, counters in told.levels.items():
        assert counters[1:3] == [held.pop(place, 0), committed.pop(place, 0)], place
        rows = told.sources[place].values()
        assert counters[3] == sum(int(row.split("\t")[1]) for row in rows), place
    assert not held
    assert not committed


def _due(
    warehouse: Warehouse,
    told: Told,
    by_kind: dict[str, dict[str, Any]],
    contents: dict[str, Any],
    lives: dict[str, int],
) -> None:
    """One entry per open hold and sku, at its deadline; each sku's head and the shard's index tell the earliest."""
    expected: dict[str, dict[str, int]] = defaultdict(dict)
    for id, r in told.reservations.items():
        if r.state == "held":
            for line in r.lines:
                expected[f"{r.shop}/{line.sku}"][id] = r.deadline_ms
    assert by_kind["d"] == expected
    for name in by_kind["d"]:
        assert lives[f"{warehouse.keys.base}d:{name}"] == -1
    index = contents.get(warehouse.keys.due, {})
    assert set(index) == set(expected), "the shard's index names other skus than those with holds"
    for name, fields in by_kind["s"].items():
        earliest = min(expected.get(name, {"": 0}).values())
        next_due = int(fields["*"].split(" ")[0])
        assert index.get(name, 0) <= earliest, "the shard's index would look too late"
        assert next_due == index.get(name, 0)
        assert (next_due > 0) == (name in expected)
        assert next_due <= earliest, "the sku's head would look too late"


def _sku(told: Told, name: str, fields: dict[str, str], checkpoint: int, life: int) -> None:
    head, _, reason = fields["*"].partition("\t")
    _, has_ttl, paused, _, head_seq = head.split(" ")
    assert (paused == "1", reason) == told.paused.get(name, (False, ""))
    levels = {location[1:]: parse_level(location[1:], text) for location, text in fields.items() if location[0] == "L"}
    assert {place[1] for place in told.levels if place[0] == name} == set(levels)
    for location, level in levels.items():
        _level(told, (name, location), level, fields.get(f"X{location}", ""))
    assert (life != -1) == (has_ttl == "1"), f"{name}: the flag and the key's life differ"
    if life != -1:
        assert all(level.held == 0 and level.seq <= checkpoint for level in levels.values()), f"{name} would expire"
        assert int(head_seq) <= checkpoint, f"{name} would expire with an unflushed pause"


def _level(told: Told, place: Place, level: Level, sources: str) -> None:
    counters = [level.on_hand, level.held, level.committed, level.deducted, level.safety_stock]
    assert counters == told.levels[place]
    assert (level.version, (level.epoch, level.seq)) == (told.versions[place], told.positions[place])
    rows = dict(row.split("\t", 1) for row in sources.split("\n") if row)
    assert rows == told.sources[place]


def _request(told: Told, name: str, text: str, checkpoint: int, life: int) -> None:
    """A record lives as long as its reservation is open or confirmed, and only then gets a life of its own."""
    _, operation, target, _, seq = text.split("\t")
    if life == -1:
        return
    if operation == "adjust":
        assert int(seq) <= checkpoint
    else:
        assert told.reservations[target].state not in ("held", "confirmed"), (
            f"request {name} would be forgotten too early"
        )
