"""Running totals: the counters of all levels of a shard, added up. Redis and the durable store each keep their own."""

from __future__ import annotations

from typing import Final, NamedTuple


class Totals(NamedTuple):
    """Units over all levels, in the order in which they are told: see lua/README.md."""

    held: int = 0
    on_hand: int = 0
    committed: int = 0
    deducted: int = 0

    def pack(self) -> str:
        """The text that meta keeps."""
        return " ".join(map(str, self))

    def against(self, other: Totals) -> list[tuple[str, int, int]]:
        """Each total in which the other ones differ: its name, ours, theirs."""
        pairs = zip(self._fields, self, other, strict=True)
        return [(name, ours, theirs) for name, ours, theirs in pairs if ours != theirs]


def parse_totals(text: str) -> Totals:
    """The totals that meta keeps, or that an event tells. Raises ValueError for what no script has written."""
    numbers = [int(word) for word in text.split()]
    if len(numbers) != len(Totals._fields):
        raise ValueError(f"{len(Totals._fields)} totals were expected, not {text!r}")
    return Totals(*numbers)


#: Of a shard without a level.
NOTHING: Final = Totals()
