"""What the documents promise and what there is are the same."""

from __future__ import annotations

import re

from gateway.domain.errors import all_errors
from tests.house.source import ROOT


def test_documents_list_every_error_code() -> None:
    """README.md names each code of `domain/errors.py` that can be answered, and no other in its table of problems."""
    readme = ROOT / "README.md"
    assert readme.exists(), "README.md is missing: its list of error codes is part of the contract"
    table = re.findall(r"^\| [0-9]{3} \| `([a-z_]+)` \|", readme.read_text(encoding="utf-8"), re.MULTILINE)
    codes = {error.code for error in all_errors()}

    assert sorted(codes - set(table)) == [], "codes that README.md does not list"
    assert sorted(set(table) - codes) == [], "codes that README.md invents"
    assert len(table) == len(set(table)), "a code that README.md lists twice"


def test_documents_lua_readme_names_every_text_form() -> None:
    """lua/README.md tells every line letter of the log, every key letter and every operation."""
    text = (ROOT / "lua" / "README.md").read_text(encoding="utf-8")
    wanted = [f"`{letter}" for letter in "ERILSKQ"] + [f"`{kind}:" for kind in "sdrqt"]
    wanted += [f"`{name}`" for name in ["reserve", "extend", "confirm", "fulfil", "release", "put", "adjust", "pause"]]

    assert [word for word in wanted if word not in text] == []
