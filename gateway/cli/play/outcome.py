"""What became of one invoice, by the gateway's own answers and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Sold: confirmed and fulfilled.
FULFILLED = "fulfilled"
#: Held and left to expire, as planned.
ABANDONED = "abandoned"
#: Refused with out_of_stock: nothing was held.
SOLD_OUT = "sold_out"
#: Held, but the deadline had passed when the confirm came through; the units went back.
EXPIRED = "expired"
#: Held in memory only and lost with the hot store, told as reservation_lost.
LOST = "lost"
#: Refused for another reason: the invoice was not played.
REFUSED = "refused"
#: An invoice of returns or corrections alone.
NONE = ""

RESULTS = (FULFILLED, ABANDONED, SOLD_OUT, EXPIRED, LOST, REFUSED)

RETURNED = "returned"
CORRECTED = "corrected"
#: A correction that would have taken on_hand below zero: answered 409, not applied.
INSUFFICIENT = "insufficient"
ADJUST_REFUSED = "adjust_refused"

ADJUSTED = (RETURNED, CORRECTED, INSUFFICIENT, ADJUST_REFUSED)

#: Units moved at a level: (sku, location, units).
Move = tuple[str, str, int]


@dataclass(slots=True)
class Outcome:
    """One invoice. `sold` are the lines of the confirm's answer, `adjusted` the deltas that were applied.

    `timings` are (operation, seconds). `deadline_earliest` and `deadline_latest` bound when the hold fell
    due, by the monotonic clock that the processes of one machine share; 0.0 where there is no hold.
    `contradictions` are answers that break the contract by themselves, `refusals` those that repeating did
    not help.
    """

    invoice: str
    result: str = NONE
    id: str = ""
    lines: int = 0
    skus: list[str] = field(default_factory=list)
    sold: list[Move] = field(default_factory=list)
    adjusted: list[Move] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    timings: list[tuple[str, float]] = field(default_factory=list)
    retries: int = 0
    deadline_earliest: float = 0.0
    deadline_latest: float = 0.0
    contradictions: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def count(self, kind: str) -> None:
        """One more adjustment ended so."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
