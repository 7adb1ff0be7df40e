"""What can go wrong with the private servers. Each message names what was tried and the mend.

EmbeddedError
├── FolderInUse       another gateway works in this data folder
├── FolderUnusable    the folder cannot be made, or its server could not reach it
├── BinaryMissing     no executable of the wanted server was found
└── ServerFailed      the server ended or did not answer in time; carries its last log lines
"""

from __future__ import annotations

from pathlib import Path


class EmbeddedError(Exception):
    """A private server cannot be used."""


class FolderInUse(EmbeddedError):
    """Another gateway works in this data folder."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"the data folder {folder} is in use by {holder}: stop that gateway, or give this one a folder of"
            " its own (GATEWAY_DATA_DIR)"
        )
        self.folder = folder
        self.pid = pid


class FolderUnusable(EmbeddedError):
    """The folder cannot be made, or its server could not reach it."""


class BinaryMissing(EmbeddedError):
    """No executable of the wanted server was found."""


class ServerFailed(EmbeddedError):
    """The server ended or did not answer in time."""

    def __init__(self, what: str, log: Path, log_lines: list[str]) -> None:
        lines = "".join(f"\n  {line}" for line in log_lines) or "\n  (empty)"
        super().__init__(f"{what}; the end of {log}:{lines}")
        self.log = log
        self.log_lines = log_lines
