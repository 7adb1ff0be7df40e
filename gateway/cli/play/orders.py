"""Orders out of a file: invoices in the order of time, each with its lines and with what came back or was
corrected.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO

from gateway.cli.records import FileUnreadable, RecordReader, fields_of

LINES_MAX = 1_000
QUANTITY_MAX = 1_000_000_000
TEXT_LENGTH_MAX = 128
#: The whole file is planned in memory: a row takes about 300 bytes.
ROWS_MAX = 5_000_000

COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "CustomerID")

RETURN = "return"
CORRECTION = "correction"


class OrdersUnreadable(FileUnreadable):
    """The orders cannot be played; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Units that came back (delta > 0) or were written off (delta < 0), by the row of the file."""

    line: int
    sku: str
    delta: int
    reason: str


@dataclass(slots=True)
class Invoice:
    """One invoice: `lines` as they stand in the file, repeated skus and all. `at_seconds` is since 1970."""

    number: str
    at_seconds: float
    customer: str = ""
    lines: list[tuple[str, int]] = field(default_factory=list)
    adjustments: list[Adjustment] = field(default_factory=list)


@dataclass(slots=True)
class Orders:
    """A file's invoices by time, then by place; `refused` rows (line, reason) take no part, `zero_rows` move
    nothing.
    """

    invoices: list[Invoice] = field(default_factory=list)
    rows: int = 0
    zero_rows: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)

    def sold(self) -> dict[str, int]:
        """What each sku sells in the file: the sum of its positive quantities; 0 for one that is only
        adjusted.
        """
        sold: dict[str, int] = {}
        for invoice in self.invoices:
            for sku, quantity in invoice.lines:
                sold[sku] = sold.get(sku, 0) + quantity
            for adjustment in invoice.adjustments:
                sold.setdefault(adjustment.sku, 0)
        return sold


def read_orders(stream: BinaryIO) -> Orders:
    """The orders of a CSV with the columns InvoiceNo, StockCode, Quantity, InvoiceDate, CustomerID and any
    others.

    An InvoiceNo that begins with C is a cancellation: its negative quantities come back as returns. Other
    rows with a negative quantity are corrections. A row that cannot be read or that the API would refuse is
    reported, never altered.

    Raises:
        OrdersUnreadable: a column is missing, or an invoice has more lines than one reservation takes.
        FileUnreadable: the file is not UTF-8 text.
    """
    orders = Orders()
    invoices: dict[str, Invoice] = {}
    for line, fields, fault in _rows(stream):
        orders.rows += 1
        if orders.rows > ROWS_MAX:
            raise OrdersUnreadable(f"more than {ROWS_MAX:,} rows: split the file")
        reason = fault or _add(invoices, orders, line, fields)
        if reason:
            orders.refused.append((line, reason))
    orders.invoices = sorted(
        (invoice for invoice in invoices.values() if invoice.lines or invoice.adjustments),
        key=lambda invoice: invoice.at_seconds,
    )
    for invoice in orders.invoices:
        if len(invoice.lines) > LINES_MAX:
            raise OrdersUnreadable(
                f"invoice {invoice.number} has {len(invoice.lines):,} lines, "
                f"and a reservation takes at most {LINES_MAX:,}"
            )
    if not orders.invoices:
        raise OrdersUnreadable(f"no invoices among {orders.rows} rows")
    return orders


def _rows(stream: BinaryIO) -> Iterator[tuple[int, dict[str, str], str]]:
    """(line, fields by column, why the row cannot be read)."""
    records = iter(RecordReader(stream, "csv"))
    first = next(records, None)
    names = fields_of(first.text) if first is not None else []
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise OrdersUnreadable(
            f"the first line must name the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}"
        )
    for record in records:
        fields = [] if record.fault else fields_of(record.text)
        fault = record.fault or (f"{len(fields)} fields instead of {len(names)}" if len(fields) != len(names) else "")
        yield record.line, dict(zip(names, fields, strict=False)), fault


def _add(invoices: dict[str, Invoice], orders: Orders, line: int, fields: dict[str, str]) -> str:
    """The row belongs to its invoice; or why it cannot."""
    number, sku, customer = fields["InvoiceNo"], fields["StockCode"], fields["CustomerID"]
    for name, text in (("InvoiceNo", number), ("StockCode", sku), ("CustomerID", customer)):
        if (text or name != "CustomerID") and (reason := refusal(text)):
            return f"{name} {text!r} {reason}"
    try:
        quantity = int(fields["Quantity"])
    except ValueError:
        return f"Quantity {fields['Quantity']!r} is not a whole number"
    if abs(quantity) > QUANTITY_MAX:
        return f"Quantity {quantity} is beyond {QUANTITY_MAX}"
    try:
        at = datetime.fromisoformat(fields["InvoiceDate"])
    except ValueError:
        return f"InvoiceDate {fields['InvoiceDate']!r} is not ISO 8601"
    is_cancellation = number.startswith("C")
    if is_cancellation and quantity > 0:
        return f"a cancellation with the quantity {quantity}"

    at_seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    invoice = invoices.setdefault(number, Invoice(number, at_seconds))
    invoice.at_seconds = min(invoice.at_seconds, at_seconds)
    invoice.customer = invoice.customer or customer
    if quantity > 0:
        invoice.lines.append((sku, quantity))
    elif quantity == 0:
        orders.zero_rows += 1
    elif is_cancellation:
        invoice.adjustments.append(Adjustment(line, sku, -quantity, RETURN))
    else:
        invoice.adjustments.append(Adjustment(line, sku, quantity, CORRECTION))
    return ""


def refusal(text: str) -> str:
    """Why the API would not take the text as a sku, reference or customer; empty when it would."""
    if not text:
        return "is empty"
    if len(text) > TEXT_LENGTH_MAX:
        return f"is longer than {TEXT_LENGTH_MAX} characters"
    if text != text.strip():
        return "begins or ends with a space"
    if any(unicodedata.category(character) == "Cc" for character in text):
        return "holds a control character"
    return ""
