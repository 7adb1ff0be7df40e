"""What a conservation check has found: what was looked at, and each broken law in words."""

from __future__ import annotations

from collections import Counter

from gateway.domain.answer import Conservation

VIOLATIONS_MAX = 1000


class Findings:
    """The findings of one check, in the order in which they were made."""

    def __init__(self) -> None:
        self.checked: Counter[str] = Counter()
        self.violations: list[dict[str, object]] = []

    @property
    def is_full(self) -> bool:
        """Whether no more is told; what is still looked at is then only counted."""
        return len(self.violations) >= VIOLATIONS_MAX

    def tell(self, invariant: int, kind: str, where: str, detail: str) -> None:
        """This law is broken here. Beyond 1000 nothing more is kept."""
        if not self.is_full:
            self.violations.append({"invariant": invariant, "kind": kind, "where": where, "detail": detail})

    def settle(self, kind: str, where: str) -> None:
        """What was told of this kind here is no violation any more: a later event of the log has put it right."""
        self.violations = [one for one in self.violations if (one["kind"], one["where"]) != (kind, where)]

    def answer(self) -> Conservation:
        """The outcome as it is told."""
        return Conservation(dict(self.checked), self.violations)
