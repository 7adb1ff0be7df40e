"""What was found about a sale, and what to say of it."""

from __future__ import annotations

from dataclasses import dataclass, field

VIOLATIONS_KEPT_MAX = 1_000

#: What each kind of violation means, for people.
KINDS = {
    "oversold": "more units were promised than there are",
    "lost_unit": "units are missing",
    "false_refusal": "somebody was told sold out while units were free",
    "two_buyers": "one reservation was given to two buyers",
    "two_effects": "one key had two effects",
    "forgotten_key": "a repeated request was not recognised",
    "early_expiry": "a hold ended before its time",
    "wrong_sale": "a confirm was answered with something else",
    "wrong_refusal": "a confirm of a live hold was refused",
    "books": "the books say something else than the answers",
    "conservation": "the gateway's own check of its books failed",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise: its kind (a key of KINDS), the sku, id or key, and what differs."""

    kind: str
    where: str
    detail: str


@dataclass(slots=True)
class Verdict:
    """Units are of all skus together. `is_known` False: the gateway could not be asked, or outcomes stayed unknown.

    `checked` counts what was read back by kind, `not_checked` says in words what was not. `unknown` requests stayed without a final
    answer, `resolved` ones got it when they were asked again. `refused` tries had another reason than the stock, of which `refusal` is
    the first: a wrong ttl, a missing scope; what was played then is not the sale that was asked for. `violations` is bounded,
    `violations_count` is not.
    """

    units: int
    sold: int = 0
    held: int = 0
    available: int = 0
    committed: int = 0
    holds: int = 0
    open_holds: int = 0
    lost_holds: int = 0
    unknown: int = 0
    resolved: int = 0
    refused: int = 0
    refusal: str = ""
    is_known: bool = False
    violations: list[Violation] = field(default_factory=list)
    violations_count: int = 0
    checked: dict[str, int] = field(default_factory=dict)
    not_checked: list[str] = field(default_factory=list)

    def add(self, kind: str, where: str, detail: str) -> None:
        """One more promise was broken."""
        self.violations_count += 1
        if len(self.violations) < VIOLATIONS_KEPT_MAX:
            self.violations.append(Violation(kind, where, detail))

    @property
    def is_exact(self) -> bool:
        """Whether everything is known and no promise was broken."""
        return self.is_known and not self.violations_count

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        if self.violations_count:
            return "NOT EXACT"
        return "exact" if self.is_known else "not known"

    def sentence(self) -> str:
        """The verdict in a sentence: what was sold, what else became of the units, what is wrong."""
        sold = f"{self.sold:,} of {self.units:,} units were sold"
        if self.violations_count:
            kinds = list(dict.fromkeys(violation.kind for violation in self.violations))
            return f"{sold}, and {self.violations_count:,} promises were broken: {'; '.join(KINDS[kind] for kind in kinds)}."
        if self.refusal:
            return f"{sold}, but {self.refused:,} tries were refused for another reason than the stock: {self.refusal}."
        if not self.is_known:
            return f"{sold} by the answers; {self.unknown:,} outcomes are not known, or the books could not be read."
        if self.sold == self.units:
            return f"Exactly the stock was sold: {self.units:,} units, none twice, none lost."
        rest = f"{self.held:,} are held by buyers who have not paid, {self.available:,} are free"
        return f"{sold}, as demand allowed: {rest}. None was promised twice, none is lost."
