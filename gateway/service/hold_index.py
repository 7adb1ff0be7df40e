"""The indexes by deadline of many skus, gathered while their holds are read, so that one command writes several entries of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.domain.errors import Corrupt

ENTRIES_MAX = 50_000  # gathered in all; about 15 MB
#: Arguments of one call: a call of 400 takes Redis about a millisecond. What must not be divided may be more.
WORDS_MAX = 400


class HoldIndex:
    """Entries that were added and not yet told. What it tells are calls of `restore_index`, as their arguments."""

    def __init__(self) -> None:
        #: Per shop/sku: its holds as deadline, random part, …; and its units by 'H<location>'.
        self._skus: dict[str, tuple[list[str], dict[str, int]]] = {}
        self._entries = 0
        #: Of every hold that was ever added.
        self.units = 0

    def add(self, holds: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
        """These (random part, packed) count too; tells what has become too much to keep.

        Raises Corrupt for a text that is not that of a hold.
        """
        for random_part, packed in holds:
            head, *lines = packed.split("\n")
            letter, deadline, _, _, _, _, _, _, _, shop, _ = head.split("\t", 10)
            if letter != "h":
                raise Corrupt(f"reservation {random_part} is stored as held, its text says {letter!r}")
            for name in self._add_lines(random_part, deadline, shop, lines):
                # Only now: one hold's lines of a sku must stay in one call, which repeats itself whole or not at all.
                if (found := self._skus.pop(name, None)) is not None:
                    self._entries -= len(found[0]) // 2
                    yield _told(name, *found)
        if self._entries >= ENTRIES_MAX:
            yield from self.rest()

    def rest(self) -> Iterator[list[str]]:
        """All that was not told yet."""
        gathered, self._skus, self._entries = self._skus, {}, 0
        call: list[str] = []
        for name, (dues, units) in gathered.items():
            told = _told(name, dues, units)
            if call and len(call) + len(told) > WORDS_MAX:
                yield call
                call = []
            call += told
        if call:
            yield call

    def _add_lines(self, random_part: str, deadline: str, shop: str, lines: list[str]) -> list[str]:
        """The hold is in the index of each of its skus; returns those whose indexes are as long as a call takes."""
        long: list[str] = []
        for line in lines:
            sku, location, quantity, _ = line.split("\t")
            name, count = f"{shop}/{sku}", int(quantity)
            found = self._skus.get(name)
            if found is None:
                found = self._skus[name] = ([], {})
            dues, units = found
            if not dues or dues[-1] != random_part:
                dues += (deadline, random_part)
                self._entries += 1
                if len(dues) >= WORDS_MAX:
                    long.append(name)
            field = "H" + location
            units[field] = units.get(field, 0) + count
            self.units += count
        return long


def _told(name: str, dues: list[str], units: dict[str, int]) -> list[str]:
    """One sku as `restore_index` takes it."""
    told = ["=", name, *dues]
    for field, count in units.items():
        told += (field, str(count))
    return told
