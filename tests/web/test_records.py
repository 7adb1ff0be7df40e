"""Records out of bytes, against Python's own csv reader."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from gateway.web.records import Record, Records

CELLS = st.text(st.sampled_from(["a", "é", ",", '"', "\n", " "]), max_size=6)
TABLES = st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=6)


def cut(raw: bytes, size: int, *, bytes_max: int = 1_000, has_quotes: bool = True) -> list[Record]:
    """The records of these bytes, fed in pieces of this size."""
    records = Records(bytes_max, has_quotes=has_quotes)
    found = [record for at in range(0, len(raw), size) for record in records.feed(raw[at : at + size])]
    return found + list(records.end())


@given(TABLES, st.integers(1, 20))
def test_rows_of_a_wellformed_csv_are_cut_as_the_csv_reader_cuts_them(table: list[list[str]], size: int) -> None:
    """Whatever the pieces, each record is one row of the file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)

    found = cut(text.getvalue().encode(), size)

    assert [next(csv.reader(io.StringIO(record.raw.decode(), newline=""))) for record in found] == table
    assert [record.number for record in found] == list(range(1, len(table) + 1))


@given(
    st.lists(st.sampled_from([b"a", b"\n", b'"', b",", b"\xff", b"a" * 9])).map(b"".join),
    st.integers(1, 50),
    st.booleans(),
)
def test_any_bytes_give_numbered_records_of_bounded_size(raw: bytes, size: int, has_quotes: bool) -> None:
    """Garbage is cut, counted and bounded, and cut alike in one piece or in many."""
    found = cut(raw, size, bytes_max=20, has_quotes=has_quotes)

    assert [record.number for record in found] == list(range(1, len(found) + 1))
    assert all(len(record.raw) <= 20 for record in found)
    if not has_quotes:
        assert found == cut(raw, len(raw) + 1, bytes_max=20, has_quotes=has_quotes)


def test_record_over_its_bound_is_skipped_to_its_lines_end() -> None:
    """A long line is told once, however many pieces it has."""
    found = cut(b"a\n" + b"x" * 5_000 + b"\nb\n", 7, bytes_max=100)

    assert [(record.number, record.raw, bool(record.error)) for record in found] == [
        (1, b"a", False),
        (2, b"", True),
        (3, b"b", False),
    ]


def test_lines_behind_a_quote_that_never_closes_do_not_open_records_again() -> None:
    """Each of them stands alone: one with an open quote of its own is at fault itself."""
    found = cut(b'"a,1\nx"y,"z\nb,2\n', 50)

    assert [(record.raw, bool(record.error)) for record in found] == [(b"", True), (b"", True), (b"b,2", False)]


def test_record_over_several_lines_is_bounded_as_a_whole() -> None:
    """A quoted field may span lines, not for ever: beyond the bound its lines are records of their own."""
    within = cut(b'"' + b"aaa\n" * 4 + b'"\n', 100, bytes_max=20)
    beyond = cut(b'"' + b"aaa\n" * 5 + b'"\n', 100, bytes_max=20)

    assert [(record.raw, bool(record.error)) for record in within] == [(b'"aaa\naaa\naaa\naaa\n"', False)]
    assert [record.error for record in beyond] == [
        "has a quote that is not closed",
        "",
        "",
        "",
        "",
        "has a quote that is not closed",
    ]
