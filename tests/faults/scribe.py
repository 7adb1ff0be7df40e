"""Writes runs in which everything is right, step by step: both stores and the clients' history, for tests to spoil.

One level per sku at `main`, one line per reservation, one event per entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tests.faults.history import Answer, Call, Circumstances, History
from tests.faults.laws_of_effects import AUDIT
from tests.faults.stores import GENESIS, NOTHING, STATES, Counters, Held, Row, Stores, chained

SHOP = "s"
TTL_MS = 5000
LETTERS = {state: letter for letter, state in STATES.items()}


@dataclass
class Level:
    """A level as the scribe keeps it."""

    counters: Counters = NOTHING
    version: int = 0
    position: tuple[int, int] = (0, 0)


class Scribe:
    """A shop where every step takes a tenth of a second and every answer is right."""

    def __init__(self) -> None:
        self.history = History()
        self.rows: list[Row] = []
        self.levels: dict[str, Level] = {}
        self.held: dict[str, Held] = {}
        self.requests: dict[str, tuple[str, str]] = {}
        self.epoch, self.ends = 1, dict[int, int]()
        self.now_ms = 1_700_000_000_000
        self._digest = GENESIS

    # -- what clients do -----------------------------------------------------------------------------------

    def put(self, sku: str, on_hand: int, sequence: int = 1) -> None:
        """A source counts the level."""
        before = self.levels.setdefault(sku, Level()).counters[0]
        self._event("stock.counted", [self._move(sku, on_hand - before)], [f"S\t{sku}\tmain\twms\t{sequence}\t0\tabc"])
        body = {"source": "wms", "sequence": sequence, "on_hand": on_hand}
        self._call("put", self._level(sku) | {"applied": True}, subject=f"{sku}/main", body=body)

    def adjust(self, sku: str, delta: int, key: str) -> None:
        """on_hand moves, once."""
        self._event("stock.adjusted", [self._move(sku, delta)], [f"Q\tq-{key}\tadjust\tf\t"], reference=key)
        self.requests[f"q-{key}"] = ("adjust", "")
        self._call("adjust", self._level(sku), subject=f"{sku}/main", body={"delta": delta, "reference": key}, key=key)

    def reserve(self, sku: str, quantity: int, key: str) -> str:
        """The units are held; returns the public id."""
        seq, id = len(self.rows) + 1, key.rjust(16, "0")
        one = Held(id, "held", self.now_ms + TTL_MS, self.epoch, seq, (self.epoch, seq), self.now_ms, SHOP, "cart", key)
        one = replace(one, record=f"q-{key}", lines=((sku, "main", quantity, False),))
        self._change(one, "stock.reserved", moves={"held": quantity}, more=[f"Q\tq-{key}\treserve\tf\t{id}"])
        self.requests[f"q-{key}"] = ("reserve", id)
        body = {"lines": [{"sku": sku, "quantity": quantity}], "reference": key, "ttl_seconds": TTL_MS // 1000}
        self._call("reserve", self.reservation(id), status=201, key=key, body=body)
        return one.public_id()

    def refuse(self, sku: str, quantity: int, key: str) -> None:
        """There is not enough."""
        on_hand, *taken = self.levels[sku].counters
        short = {"sku": sku, "location": "main", "requested": quantity, "available": on_hand - sum(taken)}
        problem = {"code": "out_of_stock", "outcome": "not_applied", "shortages": [short]}
        body = {"lines": [{"sku": sku, "quantity": quantity}], "reference": key}
        self._call("reserve", problem, status=409, key=key, body=body)

    def extend(self, id: str) -> None:
        """The deadline counts from now."""
        self._turn("extend", id, "stock.extended", deadline_ms=self.now_ms + TTL_MS)

    def confirm(self, id: str) -> None:
        """The hold is a sale."""
        self._turn("confirm", id, "stock.confirmed", "confirmed", held=-1, committed=1)

    def fulfil(self, id: str) -> None:
        """The units leave."""
        self._turn("fulfil", id, "stock.shipped", "fulfilled", on_hand=-1, committed=-1)

    def release(self, id: str) -> None:
        """The units go back, from a hold or a sale."""
        was_held = self.held[id[-16:]].state == "held"
        held, committed = (-1, 0) if was_held else (0, -1)
        self._turn("release", id, "stock.released", "released", held=held, committed=committed)

    def expire(self, id: str) -> None:
        """The deadline passes and the sweeper comes by at once."""
        one = self.held[id[-16:]]
        self.now_ms = one.deadline_ms + 100
        self._apply(one, "stock.expired", "expired", held=-1)

    def read(self, id: str, client: str = "c") -> None:
        """Somebody asks for the reservation."""
        self._call("get", self.reservation(id[-16:]), subject=id, client=client)

    def look(self, sku: str) -> None:
        """Somebody asks for the sku."""
        self._call("stock", {"locations": [self._level(sku)], "durable": True}, subject=sku)

    # -- what happens to the stores ------------------------------------------------------------------------

    def reopen(self) -> None:
        """The epoch ends here, and the next one begins with the next event."""
        self.ends[self.epoch] = len(self.rows)
        self.epoch += 1

    def stores(self) -> Stores:
        """Both stores at rest."""
        levels = {(SHOP, sku, "main"): level.counters for sku, level in self.levels.items()}
        holds: dict[str, dict[str, int]] = {}
        for one in self.held.values():
            if one.state == "held":
                holds.setdefault(f"{SHOP}/{one.lines[0][0]}", {})[one.id] = one.deadline_ms
        return Stores(
            read_ms=self.now_ms,
            checkpoint=len(self.rows),
            epoch=self.epoch,
            digest=self._digest,
            epoch_ends=dict(self.ends),
            rows=list(self.rows),
            levels=levels,
            reservations=dict(self.held),
            requests=dict(self.requests),
            hot_seq=len(self.rows),
            hot_levels=dict(levels),
            hot_reservations=dict(self.held),
            hot_holds=holds,
            hot_due={name: min(deadlines.values()) for name, deadlines in holds.items()},
        )

    def audited(self) -> tuple[History, Stores, Circumstances]:
        """All that the checker wants, after somebody has asked for every reservation."""
        for one in list(self.held.values()):
            self.read(one.public_id(), AUDIT)
        return self.history, self.stores(), Circumstances(SHOP)

    def reservation(self, id: str) -> dict[str, Any]:
        """The reservation as it is answered."""
        one = self.held[id]
        lines = [{"sku": sku, "location": location, "quantity": quantity} for sku, location, quantity, _ in one.lines]
        return {
            "id": one.public_id(),
            "shop": SHOP,
            "state": one.state,
            "tier": one.tier,
            "reference": one.reference,
            "lines": lines,
            "expires_at": instant(one.deadline_ms) if one.state == "held" else None,
            "position": f"0-{one.epoch}-{one.seq}",
            "durable": True,
        }

    # -- how it is written ---------------------------------------------------------------------------------

    def _turn(self, operation: str, id: str, type: str, state: str = "held", **moves: int) -> None:
        one = self.held[id[-16:]]
        self._apply(one, type, state, **moves)
        self._call(operation, self.reservation(one.id), subject=id)

    def _apply(self, one: Held, type: str, state: str, *, deadline_ms: int = 0, **moves: int) -> None:
        quantity = one.lines[0][2]
        changed = replace(
            one, state=state, epoch=self.epoch, seq=len(self.rows) + 1, deadline_ms=deadline_ms or one.deadline_ms
        )
        self._change(changed, type, moves={name: units * quantity for name, units in moves.items()})

    def _change(self, one: Held, type: str, *, more: Sequence[str] = (), moves: Mapping[str, int]) -> None:
        self.held[one.id] = one
        sku, location, quantity, is_settled = one.lines[0]
        facts = [f"R\t{one.id}\t{head(one)}", f"I\t{sku}\t{location}\t{quantity}\t{int(is_settled)}"]
        changes = [self._move(sku, **moves)] if moves else []
        self._event(type, [*facts, *changes], more)

    def _move(self, sku: str, on_hand: int = 0, *, held: int = 0, committed: int = 0) -> str:
        level, moved = self.levels.setdefault(sku, Level()), (on_hand, held, committed, 0, 0)
        a, b, c, d, e = (old + by for old, by in zip(level.counters, moved, strict=True))
        level.counters, level.version = (a, b, c, d, e), level.version + 1
        level.position = (self.epoch, len(self.rows) + 1)
        return "\t".join(["L", sku, "main", *map(str, (*level.counters, level.version, *moved))])

    def _event(self, type: str, facts: Sequence[str], more: Sequence[str], reference: str = "") -> None:
        seq = len(self.rows) + 1
        first = "\t".join(["E", str(seq), str(self.epoch), type, str(self.now_ms), SHOP, "key", "", "", reference])
        payload = "\n".join([first, *facts, *more])
        self._digest = chained(self._digest, payload)
        self.rows.append(Row(seq, self.epoch, seq, type, self.now_ms, SHOP, payload, self._digest))

    def _level(self, sku: str) -> dict[str, Any]:
        level = self.levels[sku]
        on_hand, held, committed, _, safety = level.counters
        counted = {"on_hand": on_hand, "held": held, "committed": committed, "deductions": {}, "safety_stock": safety}
        available = on_hand - held - committed - safety
        position = f"0-{level.position[0]}-{level.position[1]}"
        return counted | {"location": "main", "available": available, "position": position, "durable": True}

    def _call(
        self, operation: str, told: dict[str, Any], *, status: int = 200, client: str = "c", **fields: Any
    ) -> None:
        start_ms, end_ms = self.now_ms - 4, self.now_ms + 4
        call = Call(client, operation, start_ms / 1000, end_ms / 1000, start_ms, end_ms, **fields)
        self.history.record(replace(call, answer=Answer(status, told)))
        self.now_ms += 100


def head(one: Held) -> str:
    """The first row of a packed reservation."""
    numbers = [one.deadline_ms, one.epoch, one.seq, *one.birth, one.created_ms]
    texts = ["", "", one.shop, one.tier, one.reference, "", "", one.record]
    return "\t".join([LETTERS[one.state], *map(str, numbers), *texts])


def instant(ms: int) -> str:
    """An instant as the contract writes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"
