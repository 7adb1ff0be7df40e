"""What the documents promise and what there is are the same."""

from __future__ import annotations

import re

from gateway.cli.command import build
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


def test_documents_tell_of_every_command() -> None:
    """README.md has each subcommand in its table of tools, CHANGELOG.md names it, and neither table nor command is alone."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    table = set(re.findall(r"^\| `gateway (\w+)", readme, re.MULTILINE))
    commands = {str(command.name) for command in build().registered_commands}

    assert table == commands
    assert [name for name in sorted(commands) if f"gateway {name}" not in changelog and name != "version"] == []


def test_documents_lua_readme_names_every_text_form() -> None:
    """lua/README.md tells every line letter of the log, every key letter and every operation."""
    text = (ROOT / "lua" / "README.md").read_text(encoding="utf-8")
    wanted = [f"`{letter}" for letter in "ERILSKQT"] + [f"`{kind}:" for kind in "sdrqt"]
    wanted += [f"`{name}`" for name in ["reserve", "extend", "confirm", "fulfil", "release", "put", "adjust", "pause"]]

    assert [word for word in wanted if word not in text] == []


def test_readme_names_scenarios_that_exist() -> None:
    """What README says of faults is what a scenario does: each one it names is there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\| `(test_\w+)` \|", readme)
    there = {
        name
        for path in (ROOT / "tests" / "faults").glob("test_*.py")
        for name in re.findall(r"^async def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) >= 10
    assert [name for name in named if name not in there] == []
