"""What the scripts should do, said once more in plain Python without any store: the walk compares every answer with it.

Nothing is counted here that can be summed: `held` and `committed` come from the reservations each time, and a hold past its deadline
is expired because of the clock, not because somebody swept it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

SOURCES_MAX = 100
ON_HAND_MAX = 1_000_000_000


@dataclass
class Place:
    """One level, without what follows from reservations."""

    on_hand: int = 0
    safety: int = 0
    version: int = 0
    sources: dict[str, tuple[int, int, str]] = field(default_factory=dict)  # sequence, deduction, content


@dataclass
class Line:
    """Units of a reservation at one level."""

    sku: str
    location: str
    quantity: int
    settled: bool = False


@dataclass
class Booking:
    """A reservation; `state` is what was last decided, `state_at` what the clock makes of it."""

    lines: list[Line]
    deadline: int
    created: int
    tier: str
    state: str = "held"
    ended: int | None = None
    confirmed: int | None = None

    def state_at(self, now: int) -> str:
        """A hold at or past its deadline is expired."""
        return "expired" if self.state == "held" and self.deadline <= now else self.state


@dataclass(frozen=True)
class Wanted:
    """One line of a request."""

    sku: str
    quantity: int
    location: str | None = None


@dataclass(frozen=True)
class Short:
    """Why a line could not be held."""

    sku: str
    location: str | None
    requested: int
    available: int
    reason: str
    next_release: int | None


class Model:
    """Everything there is, and every operation as (status, what it tells)."""

    def __init__(self, now: int, tiers: dict[str, tuple[int, int, int]], retention_ms: int) -> None:
        self.now = now
        self.tiers = tiers  # ttl, most, lifetime; all in ms
        self.retention_ms = retention_ms
        self.places: dict[tuple[str, str], Place] = {}
        self.paused: dict[str, str] = {}
        self.bookings: dict[str, Booking] = {}
        self.requests: dict[tuple[str, str], tuple[str, str]] = {}

    # What follows from the reservations

    def held(self, sku: str, location: str) -> int:
        """Units in open holds."""
        return self._sum("held", sku, location)

    def committed(self, sku: str, location: str) -> int:
        """Units sold and not yet gone."""
        return self._sum("confirmed", sku, location)

    def _sum(self, state: str, sku: str, location: str) -> int:
        return sum(
            line.quantity
            for booking in self.bookings.values()
            if booking.state_at(self.now) == state
            for line in booking.lines
            if (line.sku, line.location, line.settled) == (sku, location, False)
        )

    def available(self, sku: str, location: str) -> int:
        """What a new reservation may take."""
        place = self.places[sku, location]
        deducted = sum(row[1] for row in place.sources.values())
        return place.on_hand - self.held(sku, location) - self.committed(sku, location) - deducted - place.safety

    def counters(self, sku: str) -> dict[str, tuple[int, int, int, int, int]]:
        """on_hand, held, committed, deducted, safety stock of every level of a sku."""
        return {
            location: (
                place.on_hand,
                self.held(sku, location),
                self.committed(sku, location),
                sum(row[1] for row in place.sources.values()),
                place.safety,
            )
            for (name, location), place in sorted(self.places.items())
            if name == sku
        }

    # Operations

    def reserve(
        self,
        id: str,
        wanted: list[Wanted],
        ttl_ms: int,
        *,
        key: str = "",
        fingerprint: str = "",
        partial: bool = False,
        locations: tuple[str, ...] | None = None,
        priority: tuple[str, ...] = (),
        tier: str = "cart",
    ) -> tuple[str, object]:
        """RESERVED or REPLAYED with the id and shortages, or why not."""
        if key and ("reserve", key) in self.requests:
            known, target = self.requests["reserve", key]
            return ("REPLAYED", (target, [])) if known == fingerprint else ("REUSED", None)
        if id in self.bookings:
            return "RESERVED", (id, None)
        summed: dict[tuple[str, str | None], int] = {}
        for want in wanted:
            summed[want.sku, want.location] = summed.get((want.sku, want.location), 0) + want.quantity
        wishes = [Wanted(sku, quantity, location) for (sku, location), quantity in summed.items()]
        unknown = [wish.sku for wish in wishes if not any(sku == wish.sku for sku, _ in self.places)]
        if unknown:
            return "UNKNOWN_SKU", unknown
        lines, short = self._allocate(wishes, locations, priority)
        if not lines or (short and not partial):
            return "OUT_OF_STOCK", short
        self.bookings[id] = Booking(lines, self.now + ttl_ms, self.now, tier)
        if key:
            self.requests["reserve", key] = (fingerprint, id)
        return "RESERVED", (id, short)

    def _considered(
        self, wish: Wanted, locations: tuple[str, ...] | None, priority: tuple[str, ...]
    ) -> list[tuple[str, str]]:
        here = sorted(location for sku, location in self.places if sku == wish.sku)
        if wish.location is not None:
            names = [wish.location]
        elif locations is not None:
            names = list(dict.fromkeys(locations))
        else:
            names = list(dict.fromkeys([*priority, *here]))
        return [(wish.sku, name) for name in names if name in here]

    def _allocate(
        self, wishes: list[Wanted], locations: tuple[str, ...] | None, priority: tuple[str, ...]
    ) -> tuple[list[Line], list[Short]]:
        taken: dict[tuple[str, str], int] = {}
        pieces: dict[int, list[tuple[tuple[str, str], int]]] = {}
        short: list[Short] = []

        def free(place: tuple[str, str]) -> int:
            return self.available(*place) - taken.get(place, 0)

        order = sorted(range(len(wishes)), key=lambda n: (wishes[n].location is None, n))
        for n in order:
            wish, left = wishes[n], wishes[n].quantity
            places = self._considered(wish, locations, priority)
            pieces[n] = []
            if wish.sku not in self.paused:
                whole = next((place for place in places if free(place) >= left), None)
                for place in [whole] if whole else places:
                    units = min(max(free(place), 0), left)
                    if units:
                        pieces[n].append((place, units))
                        taken[place] = taken.get(place, 0) + units
                        left -= units
            if left:
                short.append(self._short(wish, places, wish.quantity - left, free))
        lines: dict[tuple[str, str], Line] = {}
        for n in range(len(wishes)):
            for place, units in pieces[n]:
                lines.setdefault(place, Line(*place, 0)).quantity += units
        return list(lines.values()), short

    def _short(self, wish: Wanted, places: list[tuple[str, str]], got: int, free) -> Short:  # type: ignore[no-untyped-def]
        """Units of one level are shown as they are; a level that owes units takes none from the others."""

        def total(*more) -> int:  # type: ignore[no-untyped-def]
            units = [free(place) + sum(one(place) for one in more) for place in places]
            return got + (units[0] if len(units) == 1 else sum(max(unit, 0) for unit in units))

        def held(place: tuple[str, str]) -> int:
            return self.held(*place)

        def safety(place: tuple[str, str]) -> int:
            return max(self.places[place].safety, 0)

        reason, next_release = "sold_out", None
        if wish.sku in self.paused:
            reason = "paused"
        elif any(held(place) for place in places) and total(held) >= wish.quantity:
            reason = "held"
            next_release = min(
                booking.deadline
                for booking in self.bookings.values()
                if booking.state_at(self.now) == "held"
                and any((line.sku, line.location) in places for line in booking.lines)
            )
        elif any(safety(place) for place in places) and total(held, safety) >= wish.quantity:
            reason = "reserved_for_safety"
        return Short(wish.sku, wish.location, wish.quantity, total(), reason, next_release)

    def _expire(self, booking: Booking) -> str:
        """The state now, decided for good when the deadline has passed."""
        if booking.state_at(self.now) != booking.state:
            booking.state, booking.ended = "expired", booking.deadline
        return booking.state

    def extend(self, id: str, tier: str | None, ttl_ms: int | None) -> tuple[str, object]:
        """A live hold's deadline, counted from now."""
        booking = self.bookings[id]
        if self._expire(booking) != "held":
            return "STATE", id
        name = tier or booking.tier
        ttl, most, lifetime = self.tiers[name]
        ttl = ttl if ttl_ms is None else ttl_ms
        if ttl > most:
            return "TTL_TOO_LONG", (name, most)
        if self.now + ttl > booking.created + lifetime:
            return "EXTENSION_LIMIT", booking.created + lifetime
        booking.tier, booking.deadline = name, self.now + ttl
        return "EXTENDED", id

    def confirm(self, id: str, *, reacquire: bool, fulfil: bool) -> tuple[str, object]:
        """A sale; an expired hold only when asked to, in time, and when its lines are free."""
        booking = self.bookings[id]
        state, again = self._expire(booking), False
        if state == "expired" and reacquire and self.now <= booking.deadline + self.retention_ms:
            short = [
                self._short(
                    Wanted(line.sku, line.quantity, line.location),
                    [(line.sku, line.location)],
                    0,
                    lambda p: self.available(*p),
                )
                for line in booking.lines
                if line.sku in self.paused or self.available(line.sku, line.location) < line.quantity
            ]
            if short:
                return "OUT_OF_STOCK", short
            again = True
        elif state in ("expired", "released"):
            return "STATE", id
        if state == "held" or again:
            booking.state, booking.confirmed, booking.ended = "confirmed", self.now, None
        if fulfil and booking.state == "confirmed":
            self._ship(booking)
        return "CONFIRMED", (id, again)

    def _ship(self, booking: Booking) -> None:
        for line in booking.lines:
            if not line.settled:
                place = self.places[line.sku, line.location]
                place.on_hand -= line.quantity
        booking.state, booking.ended = "fulfilled", self.now

    def fulfil(self, id: str) -> tuple[str, object]:
        """The units of a sale leave."""
        booking = self.bookings[id]
        state = self._expire(booking)
        if state == "confirmed":
            self._ship(booking)
        return ("FULFILLED", id) if state in ("confirmed", "fulfilled") else ("STATE", id)

    def release(self, id: str) -> tuple[str, object]:
        """The units come back; of one that ended otherwise nothing changes."""
        booking = self.bookings[id]
        state = self._expire(booking)
        if state == "fulfilled":
            return "STATE", id
        if state in ("held", "confirmed"):
            booking.state, booking.ended = "released", self.now
        return "RELEASED", id

    def put(
        self,
        sku: str,
        location: str,
        source: str,
        sequence: int,
        on_hand: int | None,
        deduction: int | None,
        safety: int | None,
        reflects: tuple[str, ...],
        content: str,
    ) -> tuple[str, object]:
        """What a source tells, if it is newer than what it told before."""
        place = copy.deepcopy(self.places.get((sku, location), Place()))
        row = place.sources.get(source)
        if row is not None and (sequence, content) == (row[0], row[2]):
            return "UNCHANGED", None
        if row is not None and sequence <= row[0]:
            return "STALE", row[0]
        bad = [id for id in reflects if self._expire(self.bookings[id]) != "confirmed"]
        if bad:
            return "NOT_CONFIRMED", bad
        for id in reflects:
            booking = self.bookings[id]
            own = [line for line in booking.lines if (line.sku, line.location, line.settled) == (sku, location, False)]
            for line in own:
                line.settled = True
            if own and all(line.settled for line in booking.lines):
                booking.state, booking.ended = "fulfilled", self.now
        place.on_hand = place.on_hand if on_hand is None else on_hand
        place.safety = place.safety if safety is None else safety
        before = row[1] if row else 0
        place.sources[source] = (sequence, before if deduction is None else deduction, content)
        self.places[sku, location] = place
        return "APPLIED", None

    def adjust(self, sku: str, location: str, delta: int, key: str, fingerprint: str) -> tuple[str, object]:
        """on_hand by the delta, once per key."""
        if ("adjust", key) in self.requests:
            return ("REPLAYED", None) if self.requests["adjust", key][0] == fingerprint else ("REUSED", None)
        place = self.places.get((sku, location))
        if place is None:
            return "NO_LEVEL", None
        if delta < 0 and place.on_hand + delta < 0:
            return "INSUFFICIENT", place.on_hand
        if delta > 0 and place.on_hand + delta > ON_HAND_MAX:
            return "TOO_LARGE", place.on_hand
        place.on_hand += delta
        self.requests["adjust", key] = (fingerprint, "")
        return "ADJUSTED", None

    def pause(self, sku: str, paused: bool, reason: str) -> tuple[str, object]:
        """Off sale, or back."""
        if not any(name == sku for name, _ in self.places):
            return "NO_LEVEL", None
        before = self.paused.get(sku)
        if (paused and before == reason) or (not paused and before is None):
            return "UNCHANGED", None
        if paused:
            self.paused[sku] = reason
        else:
            del self.paused[sku]
        return "APPLIED", None
