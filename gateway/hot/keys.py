"""The names of every key, in one place.

All keys of a shard begin with one hash tag, so that a script touches one slot; all but `meta` and `urgency` carry the generation,
which only a
rebuild changes. Scripts derive names they were not given from the log's name, by the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Keys:
    """The key names of one shard in one generation."""

    prefix: str
    shard: int
    generation: int
    meta: str = field(init=False)
    base: str = field(init=False)
    log: str = field(init=False)
    due: str = field(init=False)
    urgency: str = field(init=False)
    restoring: str = field(init=False)

    def __post_init__(self) -> None:
        tag = f"{{{self.prefix}{self.shard}}}"
        base = f"{tag}:{self.generation}:"
        own = {
            "meta": f"{tag}:meta",
            "base": base,
            "log": f"{base}log",
            "due": f"{base}due",
            "urgency": f"{tag}:urgency",
            "restoring": f"{base}restoring",
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)

    def named(self, name: str) -> str:
        """The key of what scripts call `name`: "s:" shop/sku, "r:" random part, "q:" record."""
        return self.base + name

    def sku(self, shop: str, sku: str) -> str:
        """Hash: all levels of the sku, their sources, its pause."""
        return f"{self.base}s:{shop}/{sku}"

    def holds(self, shop: str, sku: str) -> str:
        """Zset: the sku's open holds by deadline in ms."""
        return f"{self.base}d:{shop}/{sku}"

    def reservation(self, random_part: str) -> str:
        """String: the packed reservation."""
        return f"{self.base}r:{random_part}"

    def request(self, record: str) -> str:
        """String: what an idempotency key did."""
        return f"{self.base}q:{record}"

    def ticket(self, name: str) -> str:
        """String with a short life: who may load the named item from the durable store."""
        return f"{self.base}t:{name}"
