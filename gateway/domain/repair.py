"""A repair as it is planned: what would be done to a shard, in which order and why, and what only a human can do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

Adopt = Literal["redis", "database"]

StepKind = Literal[
    "reservation_restored",
    "level_corrected",
    "totals_recounted",
    "redis_adopted",
    "redis_dropped",
    "redis_rebuilt",
    "halt_lifted",
]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done: what, where, from what to what, and why.

    `mark` is what makes it the same step while sales go on: the difference where the numbers themselves move.
    """

    kind: StepKind
    where: str
    change: str
    reason: str
    mark: str = ""

    def described(self) -> dict[str, object]:
        """The step as JSON."""
        return {"kind": self.kind, "where": self.where, "change": self.change, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class HumanTask:
    """What no machine can put right: what is wrong where, and what to do about it."""

    kind: str
    where: str
    detail: str
    advice: str

    def described(self) -> dict[str, object]:
        """The task as JSON."""
        return {"kind": self.kind, "where": self.where, "detail": self.detail, "advice": self.advice}


@dataclass(slots=True)
class Plan:
    """What a repair would do to a shard as it is now. Without steps there is nothing that it could do."""

    shard: int
    state: str
    halted_reason: str | None
    steps: list[Step] = field(default_factory=list)
    for_human: list[HumanTask] = field(default_factory=list)
    adopt: Adopt | None = None

    @property
    def id(self) -> str:
        """The fingerprint of what would be done: the same steps have the same one, whatever is sold meanwhile."""
        parts = [str(self.shard), self.halted_reason or "", self.adopt or ""]
        parts += ["\t".join((step.kind, step.where, step.mark)) for step in self.steps]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def described(self) -> dict[str, object]:
        """The plan as JSON."""
        return {
            "plan_id": self.id,
            "shard": self.shard,
            "state": self.state,
            "halted_reason": self.halted_reason,
            "adopt": self.adopt,
            "steps": [step.described() for step in self.steps],
            "for_human": [task.described() for task in self.for_human],
        }


@dataclass(frozen=True, slots=True)
class Repair:
    """What came of a repair: whether the plan's steps were done. Where not, the plan is the one that would be done now."""

    is_applied: bool
    plan: Plan
    epoch: int
