"""The list of planted bugs fits the code: each can be planted, and would be seen to be planted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.planted.__main__ import ROOT
from tests.planted.bug import Bug
from tests.planted.bugs import BUGS


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_can_be_planted_and_removed(bug: Bug, tmp_path: Path) -> None:
    """Its texts stand in the code exactly once; afterwards the files are as before. So the list can not grow stale unseen."""
    for change in bug.changes:
        (tmp_path / change.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / change.file, tmp_path / change.file)

    bug.plant(tmp_path)
    assert any((tmp_path / one.file).read_bytes() != (ROOT / one.file).read_bytes() for one in bug.changes)
    bug.remove(tmp_path, ROOT)

    assert all((tmp_path / one.file).read_bytes() == (ROOT / one.file).read_bytes() for one in bug.changes)
    re.compile(bug.reason)
    if not bug.is_simulated:
        assert (ROOT / bug.caught_by[0]).exists()


def test_planted_bugs_are_many_and_each_has_a_name_of_its_own() -> None:
    """At least fifteen."""
    names = [bug.name for bug in BUGS]

    assert len(names) >= 15
    assert len(set(names)) == len(names)
