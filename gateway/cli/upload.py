"""A stock file, sent to `POST /v1/stock/import` in parts, and what became of its rows by their lines in the
file.

A part is one call: a connection that breaks costs at most one part, which is sent again. Sending rows twice
is harmless, because the gateway knows a source's sequence and answers `unchanged`.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from gateway.cli.answer import AnswerUnreadable
from gateway.cli.records import FileUnreadable, Format, Record, RecordReader
from gateway.cli.remote import Remote

PART_ROWS_MAX = 2_000
PART_BYTES_MAX = 1024 * 1024
PIECE_BYTES = 64 * 1024
#: Bad rows that are kept to be shown; the others are counted. A file of nothing but bad rows must not fill
#: the memory.
REJECTED_KEPT_MAX = 10_000

CONTENT_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}


@dataclass(slots=True)
class Imported:
    """What became of the rows so far. `rejected` lists (line of the file, reason), `rejected_count` counts
    them all.
    """

    applied: int = 0
    unchanged: int = 0
    stale: int = 0
    rejected_count: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)

    def reject(self, line: int, reason: str) -> None:
        """One more row is bad."""
        self.rejected_count += 1
        if len(self.rejected) < REJECTED_KEPT_MAX:
            self.rejected.append((line, reason))


@dataclass(slots=True)
class Part:
    """Rows that travel in one call. `lines[r - 1]` is the file's line of the gateway's row `r`."""

    header: bytes
    end_bytes: int = 0
    payload: bytearray = field(default_factory=bytearray)
    lines: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, record: Record) -> None:
        """The record is the part's last row."""
        self.payload += record.text.encode() + b"\n"
        self.lines.append(record.line)

    @property
    def is_full(self) -> bool:
        """Whether the next row belongs to another part."""
        return len(self.lines) >= PART_ROWS_MAX or len(self.payload) >= PART_BYTES_MAX


def parts(stream: BinaryIO, form: Format, reject: Callable[[int, str], None]) -> Iterator[Part]:
    """The file's rows in parts, in order; rows that cannot be read are told to `reject` and left out.

    Raises:
        FileUnreadable: the CSV has no header, or one that cannot be read.
    """
    reader = RecordReader(stream, form)
    records = iter(reader)
    header = b""
    if form == "csv":
        first = next(records, None)
        if first is None:
            raise FileUnreadable("the file is empty: a CSV begins with the names of its columns")
        if first.fault:
            raise FileUnreadable(f"line {first.line}, the names of the columns: {first.fault}")
        header = first.text.encode() + b"\n"
    part = Part(header)
    for record in records:
        if record.fault:
            reject(record.line, record.fault)
            continue
        part.add(record)
        if part.is_full:
            part.end_bytes = reader.bytes_read
            yield part
            part = Part(header)
    part.end_bytes = reader.bytes_read
    # The last part is told even when it is empty, so that the progress reaches the end of the file.
    yield part


@dataclass(slots=True)
class Upload:
    """One import: under which source and sequence, and who is told how many bytes of the file are done."""

    remote: Remote
    form: Format
    source: str
    sequence: int
    advance: Callable[[int], None] = lambda done_bytes: None
    imported: Imported = field(default_factory=Imported)

    async def run(self, stream: BinaryIO) -> Imported:
        """Every row was answered for; at most one part is in memory at a time.

        Raises:
            RemoteFailed: a call failed; `imported` then holds what was answered before it.
            FileUnreadable: the file as a whole is of no use.
        """
        waiting = parts(stream, self.form, self.imported.reject)
        begin_bytes = 0
        # In a thread: standard input may be slow, and the connection must be looked after meanwhile.
        while (part := await asyncio.to_thread(next, waiting, None)) is not None:
            if part.lines:
                await self._send(part, begin_bytes)
            begin_bytes = part.end_bytes
            self.advance(begin_bytes)
        self.imported.rejected.sort()
        return self.imported

    async def _send(self, part: Part, begin_bytes: int) -> None:
        share = (part.end_bytes - begin_bytes) / len(part.payload)

        async def pieces() -> AsyncIterator[bytes]:
            yield part.header
            for at in range(0, len(part.payload), PIECE_BYTES):
                self.advance(begin_bytes + int(at * share))
                yield bytes(part.payload[at : at + PIECE_BYTES])

        answer = await self.remote.upload(
            "/v1/stock/import",
            pieces,
            CONTENT_TYPES[self.form],
            source=self.source,
            sequence=str(self.sequence),
        )
        self._count(answer.required(f"importing lines {part.lines[0]} to {part.lines[-1]}"), part)

    def _count(self, body: dict[str, object], part: Part) -> None:
        """Add the answer to one call, which must account for every row of the part."""
        applied, unchanged, stale = (_whole(body, name) for name in ("applied", "unchanged", "stale"))
        rejected = body.get("rejected")
        if not isinstance(rejected, list):
            raise AnswerUnreadable(f"the answer to an import has rejected {rejected!r}")
        # The gateway lists a bounded number of bad rows and counts all of them.
        rejected_count = _whole(body, "rejected_count") if "rejected_count" in body else len(rejected)
        if applied + unchanged + stale + rejected_count != len(part.lines):
            told = f"{applied} applied, {unchanged} unchanged, {stale} stale, {rejected_count} rejected"
            sent = f"{len(part.lines)} rows, lines {part.lines[0]} to {part.lines[-1]}"
            raise AnswerUnreadable(f"{sent}, were sent, and the answer accounts for {told}")
        for bad in rejected:
            row = bad.get("row") if isinstance(bad, dict) else None
            if not isinstance(row, int) or not 1 <= row <= len(part.lines):
                raise AnswerUnreadable(f"the answer rejects row {row!r} of {len(part.lines)}")
            self.imported.reject(part.lines[row - 1], str(bad.get("error", "")))
        self.imported.rejected_count += rejected_count - len(rejected)
        self.imported.applied += applied
        self.imported.unchanged += unchanged
        self.imported.stale += stale


def _whole(body: dict[str, object], name: str) -> int:
    value = body.get(name)
    if type(value) is not int or value < 0:
        raise AnswerUnreadable(f"the answer to an import has {name} {value!r}")
    return value
