"""What is known about the place of a file, as far as it bears on keeping data."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")

_UNWISE: Final = {
    "tmpfs": "is kept in memory: what it holds is gone after a restart of the machine",
    "ramfs": "is kept in memory: what it holds is gone after a restart of the machine",
    "overlay": "seems to be a container's own layer: what it holds goes with the container; give it a volume",
}
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs"})


def unwise_place(path: Path) -> str | None:
    """Why the file should lie elsewhere, as a sentence; None where nothing is known against it (or not on Linux)."""
    kind = filesystem_of(path)
    if kind is None:
        return None
    folder = path.absolute().parent
    if kind in _NETWORK:
        return f"{folder} lies on a network ({kind}), where SQLite's locks cannot be relied on: use a local disk"
    return f"{folder} ({kind}) {_UNWISE[kind]}" if kind in _UNWISE else None


def filesystem_of(path: Path) -> str | None:
    """The kind of the filesystem that holds the path, as the kernel names it; None where it does not say."""
    try:
        table = _MOUNTS.read_text()
    except OSError:
        return None
    place = path.absolute().resolve()
    found: tuple[int, str] | None = None
    for line in table.splitlines():
        mount, _, rest = line.partition(" - ")
        point = Path(_unescaped(mount.split(" ")[4]))
        # The last of equally long ones lies on top.
        if place.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = len(point.parts), rest.split(" ")[0]
    return found and found[1]


def _unescaped(word: str) -> str:
    """The kernel writes spaces, tabs, line ends and backslashes of a path in octal."""
    for escaped, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(escaped, plain)
    return word
