"""The records of a CSV or NDJSON file with the line each begins on, read one at a time.

Damage stays where it is. A record that cannot be read is told with its line, and reading goes on at the next
line: a quotation mark that is never closed would otherwise swallow the rest of the file as one field.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

Format = Literal["csv", "ndjson"]

#: The longest line. The gateway's own limit for a row is smaller (http.import_row_bytes_max); this one bounds
#: our memory.
LINE_BYTES_MAX = 64 * 1024
#: The most that a quoted field with newlines in it may span.
RECORD_LINES_MAX = 50

_BOM = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")

# A field as Python's csv module reads it: quotes count only at its beginning, what follows the closing quote
# is text again. The possessive `*+` keeps a doubled quote together, else `"a""` would look closed.
_FIELD = rb'(?:"(?:[^"]|"")*+"[^,\r\n]*|[^",\r\n][^,\r\n]*|)'
_WHOLE_RECORD = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*")

# Over several lines only what RFC 4180 knows: after the closing quote comes a comma or the end. Where two
# stray quotes of different rows meet, there is usually more text.
_STRICT_FIELD = rb'(?:"(?:[^"]|"")*+"|[^",\r\n][^,\r\n]*|)'
_WHOLE_STRICTLY = re.compile(_STRICT_FIELD + rb"(?:," + _STRICT_FIELD + rb")*")


class FileUnreadable(ValueError):
    """The file as a whole cannot be used: no rows, or not UTF-8 text."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record without its line end; line ends inside it are `\\n`. With a `fault` it cannot be read, and
    `text` is empty.
    """

    line: int
    text: str
    fault: str = ""


class RecordReader:
    """Iterate to get the records, blank lines left out. `bytes_read` is how far the file has been read."""

    def __init__(self, stream: BinaryIO, form: Format) -> None:
        self.bytes_read = 0
        self._stream = stream
        self._form = form
        self._line = 0
        self._columns = 0
        self._ahead: deque[tuple[int, bytes]] = deque()

    def __iter__(self) -> Iterator[Record]:
        """Raises FileUnreadable for a file in UTF-16, which is full of zero bytes."""
        while (begun := self._next_line()) is not None:
            line, raw = begun
            if not raw.strip():
                continue
            yield self._csv_record(line, raw) if self._form == "csv" else _record(line, raw)

    def _csv_record(self, line: int, raw: bytes) -> Record:
        if len(raw) > LINE_BYTES_MAX or _WHOLE_RECORD.fullmatch(raw):
            record = _record(line, raw)
        elif b'"' not in raw:
            record = Record(line, "", "a carriage return inside the row")
        else:
            record = self._joined(line, raw)
        if not self._columns and not record.fault:
            self._columns = _columns(record.text)
        return record

    def _joined(self, line: int, raw: bytes) -> Record:
        """The record of a quoted field that goes on over several lines, if it ends and then has as many
        fields as the header.
        """
        followers: list[tuple[int, bytes]] = []
        joined = raw
        while len(followers) + 1 < RECORD_LINES_MAX and (follower := self._next_line()) is not None:
            followers.append(follower)
            joined += b"\n" + follower[1]
            if len(joined) > LINE_BYTES_MAX:
                break
            if _WHOLE_STRICTLY.fullmatch(joined):
                if self._columns in (0, _columns(joined.decode("utf-8", "replace"))):
                    return _record(line, joined)
                # Two stray quotes have met, and the rows between them are rows.
                break
        self._ahead.extendleft(reversed(followers))
        return Record(line, "", "a quoted field that begins on this line is not closed properly")

    def _next_line(self) -> tuple[int, bytes] | None:
        """The next line without its end, or None at the end. A line that is too long comes cut, one byte over
        the limit.
        """
        if self._ahead:
            return self._ahead.popleft()
        raw = self._stream.readline(LINE_BYTES_MAX + 2)
        if not raw:
            return None
        self._line += 1
        self.bytes_read += len(raw)
        tail = raw
        while not tail.endswith(b"\n") and (tail := self._stream.readline(LINE_BYTES_MAX)):
            self.bytes_read += len(tail)
            # The rest of a long line: read, so that the next line is found, and dropped.
            raw = raw[: LINE_BYTES_MAX + 1]
        if self._line == 1:
            if raw.startswith(_UTF_16_MARKS):
                raise FileUnreadable("the file is in UTF-16; save it as UTF-8")
            raw = raw.removeprefix(_BOM)
        return self._line, raw.removesuffix(b"\n").removesuffix(b"\r")


def _record(line: int, raw: bytes) -> Record:
    if len(raw) > LINE_BYTES_MAX:
        return Record(line, "", f"longer than {LINE_BYTES_MAX} bytes")
    if b"\x00" in raw:
        return Record(line, "", "a zero byte inside the row")
    try:
        return Record(line, raw.decode("utf-8"))
    except UnicodeDecodeError as exc:
        return Record(line, "", f"not UTF-8: {exc.reason} at byte {exc.start + 1} of the row")


def fields_of(text: str) -> list[str]:
    """The fields of one CSV record."""
    return next(csv.reader(io.StringIO(text, newline="")), [])


def _columns(text: str) -> int:
    return len(fields_of(text))
