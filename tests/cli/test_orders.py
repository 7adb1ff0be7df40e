"""Reading orders: what is an order, what comes back, and what is reported instead of played."""

from __future__ import annotations

import io

import pytest

from gateway.cli.play.orders import LINES_MAX, Adjustment, OrdersUnreadable, read_orders
from tests.cli.playing import CUT, HEADER


def read(*rows: str):
    return read_orders(io.BytesIO("\n".join([HEADER, *rows, ""]).encode()))


def row(
    number: str = "1",
    sku: str = "A",
    quantity: object = 1,
    at: str = "2010-12-01T08:00:00",
    customer: str = "",
) -> str:
    return f"{number},{sku},x,{quantity},{at},1.0,{customer},UK"


def test_orders_lines_stay_as_they_stand_in_the_file() -> None:
    """Repeated skus are separate lines; the customer is the first one named."""
    orders = read(row(sku="A", quantity=2), row(sku="B", customer="c9"), row(sku="A", quantity=3))

    assert len(orders.invoices) == 1
    assert orders.invoices[0].lines == [("A", 2), ("B", 1), ("A", 3)]
    assert orders.invoices[0].customer == "c9"
    assert orders.sold() == {"A": 5, "B": 1}


def test_orders_negative_rows_are_returns_and_corrections() -> None:
    """A C-invoice gives units back, another negative row writes them off, a zero row is counted; all skus
    have a start level.
    """
    orders = read(row(), row("C2", "B", -4), row("3", "D", -10), row("4", "E", 0))

    assert [invoice.adjustments for invoice in orders.invoices] == [
        [],
        [Adjustment(3, "B", 4, "return")],
        [Adjustment(4, "D", -10, "correction")],
    ]
    assert orders.zero_rows == 1
    assert orders.sold() == {"A": 1, "B": 0, "D": 0}


def test_orders_are_played_by_time_then_by_place() -> None:
    """Invoices are in the order of time, equal ones in the order of the file."""
    late, early = "2010-12-02T08:00:00", "2010-12-01T08:00:00"

    orders = read(row("1", at=late), row("2", at=early), row("3", at=early))

    assert [invoice.number for invoice in orders.invoices] == ["2", "3", "1"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(sku=" A"), "begins or ends with a space"),
        (row(sku="A\u00a0"), "begins or ends with a space"),
        (row(sku=""), "is empty"),
        (row(sku="x" * 129), "longer than 128"),
        (row(sku="A\x07"), "control character"),
        (row(quantity="1.5"), "not a whole number"),
        (row(quantity=1_000_000_001), "beyond"),
        (row(at="yesterday"), "not ISO 8601"),
        (row("C1", quantity=3), "a cancellation with the quantity 3"),
        (row(customer="c9 "), "begins or ends with a space"),
        ("1,A,x", "3 fields instead of 8"),
        (row(sku='"A'), "quoted field"),
    ],
)
def test_orders_row_that_cannot_be_played_is_told_with_its_line(bad: str, reason: str) -> None:
    """A row that the API would refuse, or that cannot be read, is reported and left out; the others stand."""
    orders = read(row("7"), bad, row("8"))

    assert [invoice.number for invoice in orders.invoices] == ["7", "8"]
    assert len(orders.refused) == 1
    line, told = orders.refused[0]
    assert line == 3
    assert reason in told


def test_orders_invoice_with_too_many_lines_is_refused_with_its_number() -> None:
    """What one reservation cannot take is told before anything is sent."""
    with pytest.raises(OrdersUnreadable, match=r"invoice 9 has 1,001 lines.*at most 1,000"):
        read(*[row("9")] * (LINES_MAX + 1))


def test_orders_file_without_columns_or_invoices_is_refused() -> None:
    """A file of something else is told as such."""
    with pytest.raises(OrdersUnreadable, match="missing: StockCode"):
        read_orders(io.BytesIO(b"InvoiceNo,Quantity,InvoiceDate,CustomerID\n"))
    with pytest.raises(OrdersUnreadable, match="no invoices"):
        read_orders(io.BytesIO((HEADER + "\n").encode()))


def test_orders_cut_of_the_real_file_has_every_kind() -> None:
    """The file that other tests play has orders, repeated skus, returns, corrections and strange sku names;
    nothing is refused.
    """
    with CUT.open("rb") as stream:
        orders = read_orders(stream)

    assert orders.refused == []
    assert orders.rows == 401
    assert any(len({sku for sku, _ in i.lines}) < len(i.lines) for i in orders.invoices)
    assert {a.reason for i in orders.invoices for a in i.adjustments} == {"return", "correction"}
    assert "BANK CHARGES" in orders.sold()
