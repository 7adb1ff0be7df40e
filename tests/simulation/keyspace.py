"""What a server holds: named values, some with an end. Texts are latin-1, a character per byte, so that order and length are those
of bytes."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any, Final

Id = tuple[int, int]


class WrongType(Exception):
    """The name holds another kind of value."""


class SortedSet:
    """Members in the order of (score, member)."""

    __slots__ = ("order", "scores")

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}
        self.order: list[tuple[float, str]] = []

    def add(self, member: str, score: float) -> bool:
        """Whether the member is new."""
        old = self.scores.get(member)
        if old == score:
            return False
        if old is not None:
            del self.order[bisect_left(self.order, (old, member))]
        self.scores[member] = score
        insort(self.order, (score, member))
        return old is None

    def remove(self, member: str) -> bool:
        """Whether it was there."""
        old = self.scores.pop(member, None)
        if old is None:
            return False
        del self.order[bisect_left(self.order, (old, member))]
        return True

    def copy(self) -> SortedSet:
        """Another one with the same members."""
        made = SortedSet()
        made.scores, made.order = dict(self.scores), list(self.order)
        return made


class Stream:
    """Entries in the order of their ids, and the highest id there ever was."""

    __slots__ = ("entries", "last_id")

    def __init__(self) -> None:
        self.entries: list[tuple[Id, list[str]]] = []
        self.last_id: Id = (0, 0)

    def copy(self) -> Stream:
        """Another one with the same entries."""
        made = Stream()
        made.entries, made.last_id = list(self.entries), self.last_id
        return made


NAMES: Final[dict[type, str]] = {str: "string", dict: "hash", SortedSet: "zset", Stream: "stream"}
NEVER: Final = float("inf")


class Keyspace:
    """Values by name. `now_ms` is set by whoever runs a command; what has ended by then is not there."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.ends: dict[str, int] = {}
        self.now_ms = 0
        self.is_expiring = True  # a replica waits for the word of its primary
        self.expired: list[str] = []

    def get(self, name: str, kind: type) -> Any:
        """The value, None where there is none. Raises WrongType."""
        value = self.values.get(name)
        if value is None:
            return None
        if self.ends and self._has_ended(name):
            return None
        if value.__class__ is not kind:
            raise WrongType
        return value

    def has(self, name: str) -> bool:
        """Whether there is anything of this name."""
        return name in self.values and not (self.ends and self._has_ended(name))

    def make(self, name: str, kind: type) -> Any:
        """The value, made empty where there is none. Raises WrongType."""
        value = self.get(name, kind)
        if value is None:
            value = self.values[name] = kind()
        return value

    def drop(self, name: str) -> bool:
        """Whether it was there."""
        is_there = self.has(name)
        self.values.pop(name, None)
        self.ends.pop(name, None)
        return is_there

    def names(self) -> list[str]:
        """All that is there, by name."""
        return sorted(name for name in list(self.values) if self.has(name))

    def copy(self) -> Keyspace:
        """Another one with the same values."""
        made = Keyspace()
        made.values = {name: value if isinstance(value, str) else value.copy() for name, value in self.values.items()}
        made.ends, made.now_ms = dict(self.ends), self.now_ms
        return made

    def _has_ended(self, name: str) -> bool:
        if self.ends.get(name, NEVER) > self.now_ms:
            return False
        if self.is_expiring:
            del self.values[name], self.ends[name]
            self.expired.append(name)
        return True
