"""The scripts: headers that tell the truth, no global, no trap that bit others."""

from __future__ import annotations

import re
from functools import cache

import pytest

from gateway.hot.scripts import NAMES, PIECES, Scripts
from gateway.paths import lua_dir
from tests.house.source import ROOT

SHARED_KEYS, SHARED_ARGUMENTS = 3, 4  # what start_call reads for every script
NESTED = {"batch", "group", "changes"}  # their own statuses; inside stand those of the operations
UNLEASED = {"tick", "lease"}  # without them time would stand still, and a lease that is over could not be renewed
RESTORING = {"restore_holds", "restore_index", "restore_skus"}  # they fill a generation that nobody reads yet
OUTSIDE = {"open", "load", "shut"} | RESTORING  # they work beside an open shard: its epoch is not theirs


def text_of(name: str) -> str:
    """A script's file."""
    return (lua_dir() / f"{name}.lua").read_text(encoding="utf-8")


def header_of(name: str) -> str:
    """What stands in the first comment."""
    found = re.match(r"\A--\[\[\n(.*?)\]\]\n", text_of(name), re.DOTALL)
    assert found, f"lua/{name}.lua has no header"
    return found[1]


def body_of(name: str) -> str:
    """What follows the header, without comments."""
    return without_comments(text_of(name)[len(header_of(name)) + 8 :])


def without_comments(text: str) -> str:
    """Lua without its comments; strings stay."""
    return re.sub(r"(--\[\[.*?\]\])|('(?:[^'\\\n]|\\.)*')|(--[^\n]*)", lambda m: m[2] or "", text, flags=re.DOTALL)


@cache
def pieces() -> str:
    """The shared pieces, in the order of the library."""
    folder = lua_dir() / "_lib"
    return "\n".join(without_comments((folder / f"{name}.lua").read_text(encoding="utf-8")) for name in PIECES)


def declared(name: str, kind: str) -> list[str]:
    """The slots of KEYS or ARGV that the header names, as `4` or `4..`."""
    return re.findall(rf"^{kind}\[([0-9]+(?:\.\.)?)\] +\S+", header_of(name), re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_lua_header_is_complete(name: str) -> None:
    """It begins with the script's name and has Returns, Writes, Cost and Flags, each told."""
    header = header_of(name)

    assert header.startswith(f"{name}: ")
    for word in ("Returns", "Writes", "Cost", "Flags"):
        assert re.search(rf"^{word} +\S", header, re.MULTILINE), word
    assert re.search(r"^Flags +(none|allow-oom)$", header, re.MULTILINE)


@pytest.mark.parametrize("kind", ["KEYS", "ARGV"])
@pytest.mark.parametrize("name", NAMES)
def test_lua_header_counts_its_slots(name: str, kind: str) -> None:
    """Slots are named from 1 on without a gap; only the last may stand for many."""
    slots = declared(name, kind)

    assert [int(slot.rstrip(".")) for slot in slots] == list(range(1, len(slots) + 1))
    assert not any(slot.endswith("..") for slot in slots[:-1])


@pytest.mark.parametrize("name", NAMES)
def test_lua_arguments_declared_are_read_and_vice_versa(name: str) -> None:
    """The first four by start_call, the others by the script; nothing is read that the header does not name."""
    body = body_of(name)
    slots = declared(name, "ARGV")
    single = {int(slot) for slot in slots if not slot.endswith("..")}
    many = [int(slot[:-2]) for slot in slots if slot.endswith("..")]
    read = {int(n) for n in re.findall(r"ARGV\[([0-9]+)\]", body)}
    loops = [int(n) for n in re.findall(r"for \w+ = ([0-9]+), #ARGV", body)]
    shared = set() if name == "load" else set(range(1, SHARED_ARGUMENTS + 1))
    by_start = {1, 2} if name == "open" else shared

    assert read - single - set(many) == set(), "read, but not declared"
    assert single - read - by_start == set(), "declared, but not read"
    assert loops == many


@pytest.mark.parametrize("name", NAMES)
def test_lua_keys_declared_are_read_or_name_what_is_derived(name: str) -> None:
    """The first three are read by start_call; later ones name, for a cluster, keys the script derives, and are never read."""
    body = body_of(name)
    slots = declared(name, "KEYS")
    read = {int(n) for n in re.findall(r"KEYS\[([0-9]+)\]", body)}

    if name == "load":
        assert read == {1, 2, 3} == {int(slot) for slot in slots}
        return
    assert read == set()
    assert len(slots) == 2 if name == "open" else len(slots) >= SHARED_KEYS
    assert "META, LOG, DUE = keys[1], keys[2], keys[3]" in pieces()


@pytest.mark.parametrize("name", sorted(set(NAMES) - OUTSIDE))
def test_lua_header_tells_the_fields_of_meta_that_are_read(name: str) -> None:
    """The fields of meta in the header are those that `enter` reads."""
    told = re.search(r"^KEYS\[1\] +meta +hash +(.*)$", header_of(name), re.MULTILINE)
    read = re.search(r"call\('HMGET', META, ([^)]*)\)", pieces())

    assert told is not None
    assert read is not None
    assert set(told[1].split(", ")) == set(re.findall(r"'(\w+)'", read[1]))


# Statuses


@cache
def functions() -> dict[str, str]:
    """Every top-level function of the pieces with its body."""
    return dict(re.findall(r"^local function (\w+)\(.*?\)\n(.*?)^end$", pieces(), re.DOTALL | re.MULTILINE))


@cache
def all_statuses() -> frozenset[str]:
    """Every status that any header names."""
    return frozenset(status for script in Scripts(lua_dir()) for status in script.statuses)


def reachable(body: str) -> set[str]:
    """The statuses that a body can answer, also through the functions of the pieces."""
    seen: set[str] = set()
    waiting, text = [body], ""
    while waiting:
        part = waiting.pop()
        text += part
        for name in re.findall(r"\b(\w+)\b", part):
            if name in functions() and name not in seen:
                seen.add(name)
                waiting.append(functions()[name])
    return {word for word in re.findall(r"'([A-Z][A-Z_]+)'", text) if word in all_statuses()}


@pytest.mark.parametrize("name", sorted(set(NAMES) - NESTED))
def test_lua_statuses_are_those_of_the_code(name: str) -> None:
    """The header names every status the script can answer, and none it can not."""
    statuses = set(Scripts(lua_dir())[name].statuses)

    assert reachable(body_of(name)) == statuses


@pytest.mark.parametrize("name", sorted(NESTED))
def test_lua_statuses_of_a_script_of_many_are_its_own(name: str) -> None:
    """A batch answers BATCH, a group GROUP, changes CHANGES, and the gates; the operations' words stand inside."""
    statuses = set(Scripts(lua_dir())[name].statuses)

    assert name.upper() in statuses
    assert statuses <= reachable(body_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_lua_statuses_are_all_tested(name: str) -> None:
    """Each status of each header occurs in a test that names it."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "lua").glob("test_*.py"))

    assert [status for status in sorted(Scripts(lua_dir())[name].statuses) if f'"{status}"' not in tests] == []


# Traps


def declared_locals(text: str) -> set[str]:
    """Every name that some `local`, parameter or loop of the text declares."""
    names: set[str] = set()
    for group in re.findall(r"\blocal ((?:\w+\s*,\s*)*\w+)", text):
        names |= {name.strip() for name in group.split(",")}
    names |= set(re.findall(r"\blocal function (\w+)", text))
    for group in re.findall(r"\bfunction\s*\w*\(([^)]*)\)", text):
        names |= {name.strip() for name in group.split(",")}
    for group in re.findall(r"\bfor ((?:\w+\s*,\s*)*\w+)\s*(?:=|in)\b", text):
        names |= {name.strip() for name in group.split(",")}
    return names - {"function"}


def assigned(text: str) -> set[str]:
    """Every plain name that a statement assigns to."""
    text = re.sub(r"'(?:[^'\\\n]|\\.)*'", "''", text)
    while (flat := re.sub(r"\{[^{}]*\}", "()", text)) != text:  # fields of tables are no names
        text = flat
    names: set[str] = set()
    for group in re.findall(
        r"(?:^|\bthen\b|\bdo\b|\belse\b|\bend\b|;)\s*((?:\w+\s*,\s*)*\w+)\s*=(?!=)", text, re.MULTILINE
    ):
        names |= {name.strip() for name in group.split(",")}
    return {name for name in names if name.isidentifier()}


@pytest.mark.parametrize("name", [*PIECES, *NAMES])
def test_lua_sets_no_global(name: str) -> None:
    """Every name that is assigned to was declared local: one global would poison the whole server for fakeredis."""
    own = (lua_dir() / "_lib" / f"{name}.lua") if name in PIECES and name not in NAMES else lua_dir() / f"{name}.lua"
    text = without_comments(own.read_text(encoding="utf-8"))
    wild = assigned(text) - declared_locals(text) - declared_locals(pieces())

    assert wild == set()
    assert not re.search(r"^\s*function \w", text, re.MULTILINE), "a function that is not local"


def test_lua_look_out_sees_a_global() -> None:
    """The check above finds one where there is one."""
    text = "local a = 1\na = 2\nif a then leaked = 3 end\nb, a = 1, 2\nlocal t = { c = 1 }\n"

    assert assigned(text) - declared_locals(text) == {"leaked", "b"}


@pytest.mark.parametrize("name", NAMES)
def test_lua_pieces_include_nothing(name: str) -> None:
    """One level: a script uses the pieces, a piece is not put together from others by any directive."""
    assert "@include" not in text_of(name)
    assert "@include" not in pieces()


@pytest.mark.parametrize(
    "trap", [r"\bcjson\b", r"\bmath\.random\b", r"\bos\.", r"\bload(string)?\(", r"\bEXPIREAT\b", r"'KEYS'"]
)
def test_lua_uses_nothing_that_bit_others(trap: str) -> None:
    """No cjson (loses digits and empty arrays), nothing random, no code made at run time, no KEYS command."""
    whole = pieces() + "".join(body_of(name) for name in NAMES)

    assert not re.search(trap, whole)


def test_lua_numbers_become_text_by_format_alone() -> None:
    """`tostring` loses digits from 10^14 on: it is used for error texts only."""
    whole = pieces() + "".join(body_of(name) for name in NAMES)

    assert set(re.findall(r"tostring\(([^)]*)\)", whole)) <= {"problem", "problem.err", "id.err"}


def test_lua_only_settle_and_load_give_a_key_a_life() -> None:
    """No TTL of a key is ever a hold: lives are given where something is settled or loaded."""
    giving = {name for name in NAMES if re.search(r"'P?EXPIRE", body_of(name))}

    assert giving == {"settle", "load"}
    assert not re.search(r"'P?EXPIRE|'PX'|'EX'", pieces())


@pytest.mark.parametrize("name", sorted(set(NAMES) - OUTSIDE))
def test_lua_every_script_passes_the_gate(name: str) -> None:
    """Each begins with `enter`, itself or through `run`: epoch, poison, time and lease are judged before anything is read."""
    body = body_of(name)

    assert re.search(r"\bread_meta\(" if name in UNLEASED else r"\b(enter|run_one|run|run_independent)\(", body)
    for function in ("run", "run_independent"):
        assert functions()[function].lstrip().startswith("local refusal = enter()")
