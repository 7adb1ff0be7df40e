"""A disk of its own that a test fills, and sets read-only: a tmpfs, so it needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FILLER: Final = "filler"
PIECE_BYTES: Final = 65_536


class SmallDisk:
    """A mounted file system of a few megabytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Not one byte more has room."""
        with (self.folder / FILLER).open("ab", buffering=0) as filler:
            for size in (PIECE_BYTES, 4096, 1):
                self._write_all(filler.fileno(), bytes(size))

    def make_room(self) -> None:
        """What filled it is gone."""
        (self.folder / FILLER).unlink()

    def set_read_only(self, is_read_only: bool) -> None:
        """From now on it takes writes, or none; who has a file open for writing keeps the kernel from it. Raises CalledProcessError."""
        way = "ro" if is_read_only else "rw"
        subprocess.run(["mount", "-o", f"remount,{way}", str(self.folder)], check=True)

    def _write_all(self, file: int, piece: bytes) -> None:
        try:
            while True:
                os.write(file, piece)
        except OSError:
            return


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[SmallDisk]:
    """Mounted at the folder, which every user may enter; nothing is left of it afterwards."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=711", "small-disk", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: a server that is being ended may still have a file open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
