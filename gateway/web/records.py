"""A stream of bytes cut into records: lines, or for CSV also rows whose quoted fields span lines. Bounded whatever comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TOO_LONG: Final = "is longer than {bytes_max} bytes"
UNCLOSED: Final = "has a quote that is not closed"


@dataclass(slots=True)
class Record:
    """One record as the sender counts them, from 1; `error` says why there are no bytes to read."""

    number: int
    raw: bytes
    error: str = ""


class Records:
    """Cuts pieces of any size into records of at most `bytes_max` bytes.

    A damaged record costs itself: one that is too long is skipped to its line's end, and behind a quote that never closes the
    lines it swallowed are read again, each on its own.
    """

    def __init__(self, bytes_max: int, *, has_quotes: bool) -> None:
        self._bytes_max = bytes_max
        self._has_quotes = has_quotes
        self._number = 0
        self._rest = b""
        self._is_skipping = False
        self._open: list[bytes] = []
        self._open_bytes = 0

    def feed(self, piece: bytes) -> Iterator[Record]:
        """The records that this piece completes."""
        lines = (self._rest + piece).split(b"\n") if self._rest else piece.split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if self._is_skipping:
                self._is_skipping = False
            else:
                yield from self._line(line)
        if self._is_skipping:
            self._rest = b""
        elif len(self._rest) > self._bytes_max:
            yield from self._give_up()
            yield self._told(b"", TOO_LONG.format(bytes_max=self._bytes_max))
            self._is_skipping, self._rest = True, b""

    def end(self) -> Iterator[Record]:
        """What stands behind the last line end."""
        if self._rest and not self._is_skipping:
            yield from self._line(self._rest)
        self._rest = b""
        yield from self._give_up()

    def _told(self, raw: bytes, error: str = "") -> Record:
        self._number += 1
        return Record(self._number, raw.removesuffix(b"\r"), error)

    def _line(self, line: bytes) -> Iterator[Record]:
        if self._open and self._open_bytes + 1 + len(line) > self._bytes_max:
            yield from self._give_up()
        if len(line) > self._bytes_max:
            yield self._told(b"", TOO_LONG.format(bytes_max=self._bytes_max))
        elif self._has_quotes and _is_open(line, is_quoted=bool(self._open)):
            self._open_bytes = self._open_bytes + 1 + len(line) if self._open else len(line)
            self._open.append(line)
        else:
            whole = b"\n".join((*self._open, line)) if self._open else line
            self._open = []
            yield self._told(whole)

    def _give_up(self) -> Iterator[Record]:
        """The open record will not close: its first line is at fault, the others are records of their own."""
        lines, self._open = self._open, []
        for index, line in enumerate(lines):
            # None of them may open a record over several lines again, or a hostile file would be read once per line.
            if index == 0 or _is_open(line, is_quoted=False):
                yield self._told(b"", UNCLOSED)
            else:
                yield self._told(line)


def _is_open(line: bytes, *, is_quoted: bool) -> bool:
    """Whether a quoted field is open behind this line; `is_quoted` says whether one was before it.

    As Python's csv reader sees it: a quote opens at the start of a field only, elsewhere it is a character.
    """
    at = line.find(b'"')
    while at >= 0:
        if not is_quoted:
            is_quoted = at == 0 or line[at - 1 : at] == b","
        elif line[at + 1 : at + 2] == b'"':
            at += 1
        else:
            is_quoted = False
        at = line.find(b'"', at + 1)
    return is_quoted
