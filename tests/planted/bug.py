"""A planted bug: a change of a few words, and the test that must turn red by it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Seeds of the simulation that a bug may take to be seen.
SEEDS_MAX: Final = 2_000


@dataclass(frozen=True)
class Change:
    """In this file the text, which stands there once, becomes another one."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """What is planted, and how it is caught.

    `caught_by` is "simulation", whose seeds from 0 on are tried, or arguments of pytest: a file, `-k` and the like. `reason` is a
    regular expression that the output must match, so that a test that fails for another reason, such as a syntax error, does not
    count. `seconds_max` bounds the test.
    """

    name: str
    changes: tuple[Change, ...]
    caught_by: tuple[str, ...]
    reason: str
    seeds_max: int = SEEDS_MAX
    seconds_max: int = 900

    @property
    def is_simulated(self) -> bool:
        """Whether the simulation catches it."""
        return self.caught_by == ("simulation",)

    def plant(self, root: Path) -> None:
        """The checkout under `root` has the bug. Raises ValueError where a text is not there exactly once."""
        for change in self.changes:
            path = root / change.file
            text = path.read_text(encoding="utf-8")
            if text.count(change.old) != 1:
                raise ValueError(
                    f"{self.name}: {change.file} has the text {text.count(change.old)} times: {change.old!r}"
                )
            path.write_text(text.replace(change.old, change.new), encoding="utf-8")

    def remove(self, root: Path, original: Path) -> None:
        """The files are as in the original checkout."""
        for change in self.changes:
            (root / change.file).write_bytes((original / change.file).read_bytes())


def planted(
    name: str, file: str, old: str, new: str, *, caught_by: str = "simulation", reason: str, **bounds: int
) -> Bug:
    """A bug of one change; `caught_by` as it would be typed."""
    return Bug(name, (Change(file, old, new),), tuple(caught_by.split()), reason, **bounds)
