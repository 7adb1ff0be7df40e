"""The rows of an import: cut, checked and numbered as they come, good ones passed on, bad ones kept with the reason."""

from __future__ import annotations

import csv
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from gateway.domain.answer import ImportRow
from gateway.domain.errors import FieldError, InvalidRequest, MalformedJson
from gateway.web.bodies import Count, Name, Sequence, Text, check
from gateway.web.fields import QUANTITY_MAX, integer, shown
from gateway.web.json_text import parse
from gateway.web.limits import HttpLimits
from gateway.web.records import Record, Records

_NEEDED: Final = frozenset({"sku", "location", "on_hand"})
_NUMBERS: Final = frozenset({"on_hand", "safety_stock", "sequence"})
_COLUMNS_MAX: Final = 32
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class RowBody(BaseModel):
    """One row of an import."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, title="ImportRow")

    sku: Text
    location: Name
    on_hand: Count
    safety_stock: int | None = Field(None, ge=-QUANTITY_MAX, le=QUANTITY_MAX)
    sequence: Sequence | None = Field(None, description="Default: the query's.")


class ImportRows:
    """The rows of one import on their way to the service, and those that did not get there."""

    def __init__(self, limits: HttpLimits, sequence: int | None, *, is_csv: bool) -> None:
        """`sequence` is that of rows without one."""
        self.told_count = 0
        self.rejected: list[tuple[int, str]] = []
        self.rejected_count = 0
        self._rejected_max = limits.import_rejected_max
        self._sequence = sequence
        self._is_csv = is_csv
        self._records = Records(limits.import_row_bytes_max, has_quotes=is_csv)
        self._columns: list[str] = []
        self._waiting: list[Record] = []

    async def open(self, pieces: AsyncIterator[bytes]) -> None:
        """The header of a CSV is read; nothing has been told to the service yet.

        Raises:
            InvalidRequest: there is no header, or it lacks a column or has one that is unknown.
        """
        first = b""
        # A byte order mark may come in pieces, too.
        while len(first) < len(_BYTE_ORDER_MARK) and (piece := await anext(pieces, b"")):
            first += piece
        self._waiting = list(self._records.feed(first.removeprefix(_BYTE_ORDER_MARK)))
        while self._is_csv and not self._waiting:
            piece = await anext(pieces, b"")
            self._waiting = list(self._records.feed(piece) if piece else self._records.end())
            if not piece:
                break
        if self._is_csv:
            self._columns = _columns(self._waiting.pop(0) if self._waiting else Record(0, b""))

    async def checked(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[ImportRow]:
        """The good rows, as the body comes."""
        for record in self._waiting:
            if (row := self._row(record)) is not None:
                yield row
        self._waiting = []
        async for piece in pieces:
            for record in self._records.feed(piece):
                if (row := self._row(record)) is not None:
                    yield row
        for record in self._records.end():
            if (row := self._row(record)) is not None:
                yield row

    def _row(self, record: Record) -> ImportRow | None:
        if not record.raw.strip() and not record.error:
            return None
        # The header of a CSV was the first record, and the sender does not count it.
        number = record.number - 1 if self._is_csv else record.number
        errors: list[FieldError] = []
        body = None
        if record.error:
            errors.append(FieldError("row", record.error))
        else:
            values = self._csv_values(record.raw, errors) if self._is_csv else _json_values(record.raw, errors)
            body = None if errors else check(RowBody, values, errors)
        sequence = self._sequence if body is None or body.sequence is None else body.sequence
        if body is not None and sequence is None:
            errors.append(FieldError("sequence", "is required in the row or in the query"))
        if body is None or sequence is None or errors:
            self._reject(number, "; ".join(f"{error.field} {error.message}" for error in errors))
            return None
        self.told_count += 1
        return ImportRow(number, body.sku, body.location, body.on_hand, body.safety_stock, sequence)

    def _reject(self, number: int, error: str) -> None:
        self.rejected_count += 1
        if len(self.rejected) < self._rejected_max:
            self.rejected.append((number, error))

    def _csv_values(self, raw: bytes, errors: list[FieldError]) -> dict[str, Any]:
        fields = _csv_fields(raw, errors)
        if not errors and len(fields) != len(self._columns):
            errors.append(FieldError("row", f"has {len(fields)} fields, the header {len(self._columns)}"))
        values: dict[str, Any] = {}
        for name, text in zip(self._columns, fields, strict=False):
            if name not in _NUMBERS:
                values[name] = text
            elif text.strip():
                # What is no plain number stays text, and is refused as such.
                number = integer(text.strip(), -(10**16), 10**16)
                values[name] = text if number is None else number
        return values


def _csv_fields(raw: bytes, errors: list[FieldError]) -> list[str]:
    try:
        text = raw.decode()
        return text.split(",") if '"' not in text and "\r" not in text else next(csv.reader([text], strict=True))
    except UnicodeDecodeError:
        errors.append(FieldError("row", "is not UTF-8"))
    except csv.Error as broken:
        errors.append(FieldError("row", f"is not CSV: {broken}"))
    return []


def _json_values(raw: bytes, errors: list[FieldError]) -> Any:
    try:
        return parse(raw, errors)
    except MalformedJson:
        errors.append(FieldError("row", "is not one JSON text in UTF-8"))
    except InvalidRequest as refusal:
        errors.extend(refusal.extras["errors"])
    return None


def _columns(header: Record) -> list[str]:
    errors: list[FieldError] = []
    if header.error:
        errors.append(FieldError("header", header.error))
    columns = [name.strip() for name in _csv_fields(header.raw, errors)]
    if len(columns) > _COLUMNS_MAX:
        raise InvalidRequest(errors=[FieldError("header", f"has more than {_COLUMNS_MAX} columns")])
    for name in columns:
        if name not in RowBody.model_fields:
            errors.append(FieldError("header", f"has an unknown column {shown(name)!r}"))
        elif columns.count(name) > 1:
            errors.append(FieldError("header", f"has the column {name} twice"))
    missing = sorted(_NEEDED - set(columns))
    if missing:
        errors.append(FieldError("header", f"lacks {', '.join(missing)}"))
    if errors:
        raise InvalidRequest(errors=list(dict.fromkeys(errors)))
    return columns
