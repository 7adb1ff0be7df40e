"""What the report says of two processors at once."""

from __future__ import annotations

import os
import re

import pytest

from bench import contention
from bench.contention import told, told_contention


def test_contention_is_told_as_the_median_and_its_bounds() -> None:
    """One disturbed turn does not decide."""
    assert told([0.9, 0.2, 0.7, 0.8, 1.0]) == "0.80 of its speed (0.20 to 1.00)"


def test_contention_leaves_this_process_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured where the worker will be, if there are two places."""
    monkeypatch.setattr(contention, "SECONDS", 0.01)
    before = os.sched_getaffinity(0)

    words = told_contention()

    assert os.sched_getaffinity(0) == before
    assert re.fullmatch(r"\d\.\d\d of its speed \(\d\.\d\d to \d\.\d\d\)|there is no other one", words)
