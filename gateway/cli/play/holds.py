"""The reservations of a run: the state each must read in the end, and until when units may be held."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.cli.play import outcome as result
from gateway.cli.play.outcome import Outcome

#: What a reservation reads in the end, by what became of its invoice. A lost one has no state, and a refused
#: one is reported.
FINAL_STATES = {result.FULFILLED: "fulfilled", result.ABANDONED: "expired", result.EXPIRED: "expired"}


@dataclass(slots=True)
class Holds:
    """All reservations so far. Times are of the monotonic clock, 0.0 for never."""

    invoices: dict[str, str] = field(default_factory=dict)
    finals: dict[str, str] = field(default_factory=dict)
    open_skus: set[str] = field(default_factory=set)
    last_open: str = ""
    deadline_earliest: float = 0.0
    deadline_latest: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """One more invoice has ended so."""
        if not outcome.id:
            return
        self.invoices[outcome.id] = outcome.invoice
        if outcome.result in FINAL_STATES:
            self.finals[outcome.id] = FINAL_STATES[outcome.result]
        if outcome.result == result.FULFILLED:
            return
        self.open_skus.update(outcome.skus)
        self.deadline_latest = max(self.deadline_latest, outcome.deadline_latest)
        if outcome.result == result.ABANDONED and outcome.deadline_earliest > self.deadline_earliest:
            self.deadline_earliest, self.last_open = outcome.deadline_earliest, outcome.id
