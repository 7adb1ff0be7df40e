"""The table of rows as a whole, and the words that choose among them."""

from __future__ import annotations

import pytest

from bench.__main__ import chosen_rows, long_rows
from bench.arguments import parse
from bench.row import RateRow
from bench.rows import ROWS


def test_rows_compare_with_rows_that_exist() -> None:
    """A reference is a row of rates, or its rounds could not be compared."""
    for row in ROWS.values():
        if issubclass(row, RateRow):
            for reference in row.references:
                assert issubclass(ROWS[reference.row], RateRow), (row.name, reference.row)


def test_rows_without_a_name_are_all_but_the_long_ones() -> None:
    """And whoever reads the table is told which."""
    chosen = {row.name for row in chosen_rows(())}

    assert chosen | {*long_rows()} == set(ROWS)
    assert not chosen & {*long_rows()}


def test_rows_that_are_named_bring_their_references() -> None:
    """Also those of a reference."""
    assert [row.name for row in chosen_rows(("durable_256",))] == ["noop_256", "durable_256"]
    assert {row.name for row in chosen_rows(("wide",))} == {"noop", "noop_wide", "diy_wide", "wide"}


def test_long_is_every_long_row() -> None:
    """And may be named beside others."""
    assert {row.name for row in chosen_rows(("long",))} == {*long_rows()}
    assert {row.name for row in chosen_rows(("long", "noop"))} == {*long_rows(), "noop"}


def test_arguments_refuse_a_row_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those that are, and the group."""
    with pytest.raises(SystemExit):
        parse(["--only", "hott"], list(ROWS), long_rows())

    told = capsys.readouterr().err
    assert "hott" in told
    assert "million_holds" in told
    assert "long" in told
