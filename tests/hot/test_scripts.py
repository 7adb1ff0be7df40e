"""The library as servers get it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.hot.connection import ReplyError
from gateway.hot.scripts import NAMES, PIECES, Scripts
from gateway.paths import lua_dir
from tests.hot.links import linked
from tests.lua.warehouse import Warehouse, wish


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of lua/ to change."""
    return Path(shutil.copytree(lua_dir(), tmp_path / "lua"))


def append(path: Path, text: str) -> None:
    """The file has one line more."""
    path.write_text(path.read_text() + text)


def test_scripts_are_all_files_of_the_folder() -> None:
    """No script and no piece is left out of the library, none is named that is not there."""
    assert {path.stem for path in lua_dir().glob("*.lua")} == set(NAMES)
    assert {path.stem for path in (lua_dir() / "_lib").glob("*.lua")} == set(PIECES)


def test_scripts_hash_names_the_content(folder: Path) -> None:
    """Any change of any file makes another library; the same files the same one."""
    before = Scripts(folder)
    same = Scripts(folder)
    append(folder / "_lib" / "digest.lua", "-- changed\n")
    after = Scripts(folder)

    assert before.library == same.library != after.library
    assert before["reserve"].function != after["reserve"].function
    assert after["reserve"].function.endswith(after.library.removeprefix("gateway"))


@pytest.mark.parametrize(
    ("text", "message"), [("return 1\n", "header"), ("--[[\nreserve: no flags\n]]\nreturn 1\n", "Flags")]
)
def test_scripts_without_a_header_are_refused(folder: Path, text: str, message: str) -> None:
    """A script whose header is missing or incomplete stops the start, and is named."""
    (folder / "reserve.lua").write_text(text)

    with pytest.raises(ValueError, match=rf"lua/reserve\.lua.*{message}"):
        Scripts(folder)


async def test_scripts_of_two_versions_live_side_by_side(valkey_url: str, folder: Path) -> None:
    """Two gateways of different versions on one server each call their own library, under one epoch."""
    append(folder / "_lib" / "digest.lua", "-- another version\n")
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "two")
        await warehouse.stock("A", 5)
        ours, theirs = warehouse.shard.scripts, Scripts(folder)
        await warehouse.hold(wish("A", 1))
        warehouse.shard.scripts = theirs
        await warehouse.hold(wish("A", 1))
        warehouse.shard.scripts = ours
        await warehouse.hold(wish("A", 1))

        libraries = await link.call("FUNCTION", "LIST")
        assert {ours.library, theirs.library} <= {library[1] for library in libraries}
        assert await warehouse.counters("A") == (5, 3, 0)


async def test_scripts_loaded_twice_are_loaded_once(redis_url: str) -> None:
    """A second load, also by another gateway at the same moment, is no error."""
    async with linked(redis_url) as first, linked(redis_url) as second:
        one, two = await Warehouse.open(first, "one"), await Warehouse.open(second, "two")
        await one.shard.load_scripts()
        await two.shard.load_scripts()

        libraries = await first.call("FUNCTION", "LIST", "LIBRARYNAME", one.shard.scripts.library)

    assert len(libraries) == 1


async def test_scripts_flags_are_those_of_the_headers(redis_url: str) -> None:
    """The server knows each function under the flags that its header names."""
    async with linked(redis_url) as link:
        warehouse = await Warehouse.open(link, "flags")
        scripts = warehouse.shard.scripts
        ((_, _, _, _, _, functions),) = await link.call("FUNCTION", "LIST", "LIBRARYNAME", scripts.library)
        found = {function[1]: set(function[5]) for function in functions}

    assert found == {script.function: set(script.flags) for script in scripts}


async def test_scripts_set_no_global(redis_url: str) -> None:
    """The library's environment refuses globals, so one would have failed the load; a call proves the runtime does as well."""
    async with linked(redis_url) as link:
        text = "#!lua name=leak\nredis.register_function('leak', function(KEYS, ARGV) leaked = 1 return leaked end)"
        await link.call("FUNCTION", "LOAD", "REPLACE", text)
        with pytest.raises(ReplyError):
            await link.call("FCALL", "leak", 0)
        await link.call("FUNCTION", "DELETE", "leak")
