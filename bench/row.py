"""What a row of the table is.

A row of rates is played in rounds, in turn with the others, and checked at the end. A row of figures is
measured once, after the rounds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from bench.load import Outcome
from bench.stage import Stage


@dataclass(frozen=True)
class Reference:
    """Another row that this one is shown as a multiple of.

    `ratio_min` is the least rate that is wanted, `p99_times_max` the longest p99, both as multiples; None: not judged.
    """

    row: str
    ratio_min: float | None = None
    p99_times_max: float | None = None


@dataclass(frozen=True)
class Sample:
    """One round: `done` is what the row counts (expected answers, or lives), `wrong` every other outcome."""

    done: int
    wrong: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Done per second."""
        return self.done / self.seconds


@dataclass(frozen=True)
class Figure:
    """A figure that was measured once; it must not be greater than `value_max` nor less than `value_min`, where there is one."""

    label: str
    value: float
    unit: str
    value_max: float | None = None
    value_min: float | None = None

    @property
    def told(self) -> str:
        """The value with its unit: whole, but where it is small."""
        return f"{told_number(self.value)} {self.unit}"

    @property
    def wanted(self) -> str:
        """The limits in words; empty without one."""
        limits = (("≤", self.value_max), ("≥", self.value_min))
        return ", ".join(f"{sign} {told_number(limit)} {self.unit}" for sign, limit in limits if limit is not None)

    @property
    def is_met(self) -> bool:
        """Whether the limits hold; true without one."""
        is_small = self.value_max is None or self.value <= self.value_max
        return is_small and (self.value_min is None or self.value >= self.value_min)


class Row(ABC):
    """A row of either kind."""

    name: ClassVar[str]
    title: ClassVar[str]
    needs_gateway: ClassVar[bool] = True
    needs_postgres: ClassVar[bool] = True
    #: False for a row that takes minutes: it runs only when it is named, or its group `long`.
    by_default: ClassVar[bool] = True

    def __init__(self, stage: Stage) -> None:
        """Nothing is started before `prepare` or `measure`."""
        self.stage = stage


class RateRow(Row):
    """A row of rates."""

    references: ClassVar[tuple[Reference, ...]] = ()

    @abstractmethod
    def prepare(self) -> None:
        """What the rounds need exists; the servers are warm after one round that is not kept."""

    @abstractmethod
    def play(self, seconds: float) -> Sample:
        """One round."""

    def settle(self) -> None:
        """What the round left behind is worked off: the next round must not pay for it."""
        return

    @abstractmethod
    def verify(self) -> list[str]:
        """What is wrong with what the rounds did, a sentence each; a row with a sentence has no result."""


class FigureRow(Row):
    """A row of figures."""

    @abstractmethod
    def measure(self) -> list[Figure]:
        """The figures.

        Raises:
            BenchFailure: what was to be measured did not come about.
        """


def told_number(value: float) -> str:
    """Whole with thousands apart, two places where it is less than ten and not whole."""
    return f"{value:.2f}" if abs(value) < 10 and value != int(value) else f"{value:,.0f}"


def sample(outcome: Outcome, *, expects_refusal: bool = False) -> Sample:
    """The round, where every answer should be a success, or every one a refusal."""
    done = outcome.refusals if expects_refusal else outcome.answers - outcome.refusals
    wrong = outcome.answers - done + outcome.lost
    return Sample(done, wrong, outcome.seconds, outcome.p50_ms, outcome.p99_ms)


def out_of_bracket(what: str, found: int, counted: int, in_flight_max: int) -> list[str]:
    """A sentence where `found` is not what was counted, but for requests that were left unanswered."""
    if counted <= found <= counted + in_flight_max:
        return []
    return [f"{what}: {found}, but {counted} were answered (at most {in_flight_max} more were on their way)"]
