"""The scripts: read from lua/, includes put in, header parsed, ready to be loaded and called by their SHA-1."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_INCLUDE = re.compile(r'^-- @include "([a-z_]+)"\n', re.MULTILINE)
_HEADER = re.compile(r"\A--\[\[\n(.*?)\]\]\n", re.DOTALL)
_STATUS = re.compile(r"^  ([A-Z][A-Z_]+)\b", re.MULTILINE)
_FLAGS = re.compile(r"^Flags +(.+)$", re.MULTILINE)

NAMES = (
    "reserve",
    "extend",
    "confirm",
    "fulfil",
    "release",
    "batch",
    "put",
    "adjust",
    "pause",
    "read_sku",
    "read_reservation",
    "expire",
    "load",
    "settle",
    "open",
)


@dataclass(frozen=True, slots=True)
class Script:
    """One atomic command: its text as the server gets it, the name it is called by, and what its header promises."""

    name: str
    text: str
    sha: str
    statuses: frozenset[str]
    flags: str


class Scripts:
    """Every script of a folder. `has_shebang` adds `#!lua` with the header's flags; fakeredis does not know it."""

    def __init__(self, folder: Path, *, has_shebang: bool) -> None:
        self._scripts = {name: _read(folder, name, has_shebang=has_shebang) for name in NAMES}

    def __getitem__(self, name: str) -> Script:
        return self._scripts[name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._scripts.values())


def _read(folder: Path, name: str, *, has_shebang: bool) -> Script:
    source = (folder / f"{name}.lua").read_text(encoding="utf-8")
    found = _HEADER.match(source)
    if found is None:
        raise ValueError(f"lua/{name}.lua does not begin with a header")
    header, body = found[1], source[found.end() :]
    flags = _FLAGS.search(header)
    if flags is None:
        raise ValueError(f"lua/{name}.lua has no Flags line in its header")
    body = _INCLUDE.sub(lambda include: _included(folder, include[1]), body)
    shebang = "#!lua" if flags[1] == "none" else f"#!lua flags={flags[1]}"
    text = f"{shebang}\n{body}" if has_shebang else body
    return Script(
        name,
        text,
        hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(),
        frozenset(_STATUS.findall(header)),
        flags[1],
    )


def _included(folder: Path, name: str) -> str:
    text = (folder / "_lib" / f"{name}.lua").read_text(encoding="utf-8")
    if _INCLUDE.search(text):
        raise ValueError(f"lua/_lib/{name}.lua includes another file: one level only")
    return text
