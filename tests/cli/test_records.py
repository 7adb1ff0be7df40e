"""Reading records: lines are counted as an editor counts them, and damage does not spread."""

from __future__ import annotations

import io

import pytest

from gateway.cli.records import LINE_BYTES_MAX, RECORD_LINES_MAX, FileUnreadable, Format, Record, RecordReader


def read(content: bytes, form: Format = "csv") -> list[Record]:
    return list(RecordReader(io.BytesIO(content), form))


def lines(records: list[Record]) -> list[int]:
    return [record.line for record in records]


def faults(records: list[Record]) -> dict[int, str]:
    return {record.line: record.fault for record in records if record.fault}


def test_records_plain_csv_has_header_on_line_one() -> None:
    """The header is line 1, and each row is the line it stands on."""
    found = read(b"sku,location,on_hand\nA,main,1\nB,main,2\n")

    assert [(r.line, r.text) for r in found] == [
        (1, "sku,location,on_hand"),
        (2, "A,main,1"),
        (3, "B,main,2"),
    ]


def test_records_quoted_newline_counts_both_lines() -> None:
    """A field with a newline in it is one record, and the rows after it keep their true lines."""
    found = read(b'sku,note,on_hand\r\nA,"two\r\nlines",1\r\nB,"say ""x""",2\r\n')

    assert lines(found) == [1, 2, 4]
    assert found[1].text == 'A,"two\nlines",1'
    assert not faults(found)


def test_records_unclosed_quote_costs_one_line() -> None:
    """A quotation mark that is never closed loses its own line only."""
    rows = b"".join(b"S%d,main,1\n" % n for n in range(200))

    found = read(b'sku,location,on_hand\n"A,main,1\n' + rows)

    assert lines(found) == list(range(1, 203))
    assert list(faults(found)) == [2]


def test_records_two_stray_quotes_do_not_swallow_the_rows_between() -> None:
    """Two stray quotation marks that look like one long field are two bad lines, not one bad record over all
    between.
    """
    found = read(b'sku,location,on_hand\n"A,main,1\nB,main,2\nC,main,3\n"D,main,4\nE,main,5\n')

    assert lines(found) == [1, 2, 3, 4, 5, 6]
    assert list(faults(found)) == [2, 5]


def test_records_quoted_lines_with_another_number_of_fields_are_rows() -> None:
    """A well-formed field over two lines that has too few fields is a stray quote at each end."""
    found = read(b'sku,location,on_hand\n"A,main,1\nB,main,2"\nC,main,3\n')

    assert [(r.line, r.text) for r in found][1:] == [(2, ""), (3, 'B,main,2"'), (4, "C,main,3")]
    assert list(faults(found)) == [2]


def test_records_quoted_field_over_too_many_lines_is_refused() -> None:
    """A quoted field may span only so many lines, and what follows is read again as rows."""
    inside = b"x\n" * RECORD_LINES_MAX

    found = read(b'a,b\n1,"' + inside + b'"\n2,3\n')

    assert 2 in faults(found)
    assert found[-1].text == "2,3"


def test_records_doubled_quote_at_the_end_is_not_a_closing_one() -> None:
    """A field that ends in a doubled quote is still open, as Python's csv module has it."""
    found = read(b'a,b\n"a""\n","x"\n"a""",1\n')

    assert [(r.line, r.text) for r in found][1:] == [(2, '"a""\n","x"'), (4, '"a""",1')]


def test_records_quote_inside_an_unquoted_field_is_a_letter() -> None:
    """Inches in a description do not open a field."""
    found = read(b'a,b\n6" plate,1\nB,2\n')

    assert lines(found) == [1, 2, 3]
    assert not faults(found)


def test_records_bytes_that_are_not_utf8_are_told_with_their_line() -> None:
    """A row in another encoding is a fault of that row."""
    found = read(b"sku,location,on_hand\nA,main,1\nCaf\xe9,main,1\nB,main,2\n")

    assert list(faults(found)) == [3]
    assert "UTF-8" in faults(found)[3]
    assert found[3].text == "B,main,2"


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_records_long_line_is_told_and_the_next_is_read(form: Format) -> None:
    """A line without end does not fill the memory, and the line after it is found."""
    long = b"x" * (3 * LINE_BYTES_MAX)

    found = read(b"a\n" + long + b"\nb\n", form)

    assert lines(found) == [1, 2, 3]
    assert list(faults(found)) == [2]
    assert found[2].text == "b"


@pytest.mark.parametrize("length", [LINE_BYTES_MAX - 1, LINE_BYTES_MAX, LINE_BYTES_MAX + 1, LINE_BYTES_MAX + 2])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_records_line_limit_is_exact(length: int, end: bytes) -> None:
    """A line of exactly the limit is read whole, one byte more is a fault, whatever its line end."""
    found = read(b"x" * length + end, "ndjson")

    assert len(found) == 1
    assert bool(found[0].fault) == (length > LINE_BYTES_MAX)
    assert len(found[0].text) == (0 if found[0].fault else length)


def test_records_blank_lines_count_but_are_no_records() -> None:
    """An empty line moves the count and is no row, in both formats."""
    assert lines(read(b"a\n\n  \nb\n")) == [1, 4]
    assert lines(read(b'{"a":1}\n\n{"a":2}\n', "ndjson")) == [1, 3]


def test_records_byte_order_mark_is_dropped_and_utf16_is_refused() -> None:
    """A UTF-8 mark is no part of the first column's name; UTF-16 is told as such."""
    assert read(b"\xef\xbb\xbfsku\nA\n")[0].text == "sku"
    with pytest.raises(FileUnreadable, match="UTF-16"):
        read("sku\nA\n".encode("utf-16"))


def test_records_lone_carriage_return_and_zero_byte_are_faults() -> None:
    """Bytes that a parser on the other side could take for a line end or an end of text are refused here, by
    line.
    """
    found = read(b"a,b\n1,2\r3,4\n5,\x006\n7,8\n")

    assert list(faults(found)) == [2, 3]


def test_records_last_line_without_newline_is_a_record() -> None:
    """The last row counts also when the file does not end in a newline, and every byte was accounted for."""
    reader = RecordReader(io.BytesIO(b"a\nb"), "csv")

    assert [r.text for r in reader] == ["a", "b"]
    assert reader.bytes_read == 3
