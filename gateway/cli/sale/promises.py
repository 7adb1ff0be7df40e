"""The independent count of a sale: who was promised which unit, by the gateway's answers and our own clock alone.

Deadlines are the gateway's business, so here each hold has two: the earliest moment at which it may be over and the latest.
Between them both is right, and no verdict hangs on it.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.cli.sale.shelf import Shelf

#: Our clock and the one that judges deadlines tick apart, and are read at different moments.
SLACK_SECONDS = 0.25
#: While a gateway recovers, its clock may stand still for a moment beside the time that it was away.
AWAY_SLACK_SECONDS = 1.0
#: Kept word by word; a wrong gateway could contradict itself without end. All are counted.
CONTRADICTIONS_KEPT_MAX = 1_000

HELD, SOLD, EXPIRED, LOST = "held", "sold", "expired", "lost"
#: What a late answer to a reserve may say of a hold that is over.
OVER_STATES = frozenset({"expired", "released"})


@dataclass(slots=True)
class Hold:
    """A reservation that was answered. `is_sure` and `is_alive` as in Shelf; while `is_paying` its end is not known."""

    sku: int
    owner: str
    earliest: float
    latest: float
    state: str = HELD
    is_sure: bool = True
    is_alive: bool = True
    is_paying: bool = False


@dataclass(slots=True)
class Asked:
    """A try under way: which sku, when it left, and how many promises were over then. `owner` is its idempotency key."""

    sku: int
    owner: str
    sent: float
    ended_before: int


@dataclass(slots=True)
class Contradictions:
    """Answers that break the contract by themselves."""

    count: int = 0
    kept: list[tuple[str, str]] = field(default_factory=list)

    def add(self, kind: str, words: str) -> None:
        """One more, of a kind that the verdict names."""
        self.count += 1
        if len(self.kept) < CONTRADICTIONS_KEPT_MAX:
            self.kept.append((kind, words))


class Promises:
    """The count so far. `holds` is every reservation that was answered, by id: some 300 bytes each."""

    def __init__(self, skus: int, units: int, ttl_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.shelves = [Shelf(units) for _ in range(skus)]
        self.holds: dict[str, Hold] = {}
        self.unknown: dict[str, Asked] = {}
        self.doubled_keys: dict[str, set[str]] = {}
        self.contradictions = Contradictions()
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._ends: list[tuple[float, bool, str]] = []
        self._away_from = self._away_until = 0.0

    @property
    def sold(self) -> int:
        """Units that were answered as confirmed."""
        return sum(shelf.sold for shelf in self.shelves)

    def asks(self, sku: int, owner: str) -> Asked:
        """A try is about to leave."""
        self.advance()
        shelf = self.shelves[sku]
        shelf.asking += 1
        return Asked(sku, owner, self._clock(), shelf.ended)

    def granted(self, asked: Asked, id: str, state: str = HELD) -> None:
        """The try was answered with a reservation, which is over already if a late answer says so. The same id for another key is
        one unit for two buyers.
        """
        self._settle(asked)
        now = self.advance()
        if id in self.holds:
            other = self.holds[id].owner
            self.contradictions.add("two_buyers", f"{id} was given to key {asked.owner} and to key {other}")
            return
        earliest = asked.sent + self._ttl_seconds - SLACK_SECONDS
        latest = now + self._ttl_seconds + SLACK_SECONDS
        hold = Hold(asked.sku, asked.owner, earliest, latest, is_sure=state == HELD and now < earliest)
        self.holds[id] = hold
        self.shelves[asked.sku].promise(is_sure=hold.is_sure)
        if state in OVER_STATES:
            self._over(id, state)
        heapq.heappush(self._ends, (hold.earliest, True, id))
        heapq.heappush(self._ends, (latest, False, id))

    def refused(self, asked: Asked) -> None:
        """The try was answered with sold out."""
        self._settle(asked)
        self.advance()
        if not self.shelves[asked.sku].judge_refusal(asked.ended_before):
            self.contradictions.add("false_refusal", f"key {asked.owner} was told sold out while units were free")

    def dropped(self, asked: Asked) -> None:
        """The try was refused for another reason, and took nothing."""
        self._settle(asked)

    def lost_sight(self, asked: Asked) -> None:
        """The try has no final answer: its unit may be taken or not until the same key is asked again."""
        self.unknown[asked.owner] = asked

    def doubled(self, asked: Asked, ids: set[str]) -> None:
        """One key was answered with several reservations. All of them count, so that the books can be compared; whether all but one
        are told as lost, which would explain them, is seen when they are read.
        """
        if len(self.doubled_keys) < CONTRADICTIONS_KEPT_MAX:
            self.doubled_keys[asked.owner] = ids
        shelf = self.shelves[asked.sku]
        for id in sorted(ids - self.holds.keys()):
            shelf.asking += 1
            self.granted(Asked(asked.sku, asked.owner, asked.sent, asked.ended_before), id)

    def pays(self, id: str) -> None:
        """A confirm is about to leave."""
        self.holds[id].is_paying = True

    def confirmed(self, id: str) -> None:
        """The hold was answered as a sale, so its unit is taken for good."""
        hold = self.holds[id]
        shelf = self.shelves[hold.sku]
        hold.is_paying = False
        if hold.state == SOLD:
            return
        if not hold.is_alive:
            hold.is_alive, shelf.alive = True, shelf.alive + 1
        if not hold.is_sure:
            hold.is_sure = True
            shelf.be_sure()
        hold.state = SOLD
        shelf.sold += 1

    def expired(self, id: str) -> None:
        """A confirm was answered with expired: too early is a promise broken."""
        if self._clock() < self.holds[id].earliest:
            self.contradictions.add("early_expiry", f"{id} was told expired before its time was over")
        self._over(id, EXPIRED)

    def lost(self, id: str) -> None:
        """The hold was told as lost with the hot store; its unit is back."""
        if self.holds[id].state != LOST:
            self.shelves[self.holds[id].sku].lost += 1
        self._over(id, LOST)

    def advance(self) -> float:
        """Every end whose time has come is counted; returns the time of our clock."""
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            _, is_earliest, id = heapq.heappop(self._ends)
            hold = self.holds[id]
            if hold.state != HELD:
                continue
            if is_earliest:
                self._doubt(hold)
            elif (latest := hold.latest + self._more_seconds(hold)) > now:
                heapq.heappush(self._ends, (latest, False, id))
            elif not hold.is_paying:
                # While its confirm is under way it may have been sold in time: the answer will tell.
                self._end(hold)
        return now

    def disturbed(self) -> None:
        """The gateway was away or recovering just now. It may give its holds more time for that, so their latest ends move."""
        self._away_until = self._clock()
        self._away_from = self._away_from or self._away_until

    def _more_seconds(self, hold: Hold) -> float:
        is_moved = self._away_from and hold.latest >= self._away_from
        return self._away_until - self._away_from + AWAY_SLACK_SECONDS if is_moved else 0.0

    def _settle(self, asked: Asked) -> None:
        self.unknown.pop(asked.owner, None)
        self.shelves[asked.sku].asking -= 1

    def _over(self, id: str, state: str) -> None:
        hold = self.holds[id]
        hold.is_paying = False
        if hold.state == HELD:
            hold.state = state
            self._doubt(hold)
            self._end(hold)

    def _doubt(self, hold: Hold) -> None:
        if hold.is_sure:
            hold.is_sure = False
            self.shelves[hold.sku].sure -= 1

    def _end(self, hold: Hold) -> None:
        if hold.is_alive:
            hold.is_alive = False
            self.shelves[hold.sku].end()
