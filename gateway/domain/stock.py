"""Stock: the counters of one (shop, sku, location), and what is available of them.

The text forms here are those of lua/README.md; scripts and Python read and write the same text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.domain.identifier import Position


@dataclass(slots=True)
class SourceEntry:
    """What one source last told about a level: its fence, its deduction and a digest of the content applied last."""

    source: str
    sequence: int
    deduction: int
    digest: str


@dataclass(slots=True)
class Level:
    """The counters of one (shop, sku, location), after the change at (epoch, seq)."""

    location: str
    on_hand: int
    held: int
    committed: int
    deducted: int
    safety_stock: int
    version: int
    epoch: int
    seq: int
    updated_ms: int
    sources: dict[str, SourceEntry] = field(default_factory=dict)

    @property
    def available(self) -> int:
        """Units a new reservation may take; may be negative, and is then shown so."""
        return self.on_hand - self.held - self.committed - self.deducted - self.safety_stock

    def pack(self) -> str:
        """The level as scripts keep it, without location and sources."""
        return (
            f"{self.on_hand} {self.held} {self.committed} {self.deducted} {self.safety_stock} "
            f"{self.version} {self.epoch} {self.seq} {self.updated_ms}"
        )

    def pack_sources(self) -> str:
        """The level's sources as scripts keep them: a line per source."""
        return "\n".join(f"{s.source}\t{s.sequence}\t{s.deduction}\t{s.digest}" for s in self.sources.values())


def parse_level(location: str, text: str, sources: str = "") -> Level:
    """The level a script or the durable store tells as text."""
    on_hand, held, committed, deducted, safety, version, epoch, seq, at_ms = map(int, text.split(" "))
    entries = {}
    for row in sources.split("\n") if sources else ():
        source, sequence, deduction, digest = row.split("\t")
        entries[source] = SourceEntry(source, int(sequence), int(deduction), digest)
    return Level(location, on_hand, held, committed, deducted, safety, version, epoch, seq, at_ms, entries)


@dataclass(slots=True)
class Sku:
    """One sku of a shop with all its levels, and whether it is paused."""

    shop: str
    sku: str
    paused: bool
    reason: str
    levels: dict[str, Level]
    epoch: int = 0
    seq: int = 0

    def total(self, counter: str) -> int:
        """The sum of a counter, or of `available`, over all locations."""
        return sum(getattr(level, counter) for level in self.levels.values())

    def position(self, shard: int) -> Position:
        """The sku's newest change: the newest of its levels and of its pause."""
        newest = max([(level.epoch, level.seq) for level in self.levels.values()] + [(self.epoch, self.seq)])
        return Position(shard, *newest)
