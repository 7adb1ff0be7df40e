"""The data folder of one gateway, and the lock that keeps a second gateway out of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from gateway.embedded.errors import FolderInUse, FolderUnusable

LOCK_NAME = "gateway.lock"
SQLITE_NAME = "gateway.sqlite3"


class DataFolder:
    """A folder that this process, and no other gateway, works in.

    The lock is the kernel's (flock), so it ends with the process however that ends, and a lock file left
    behind locks nothing. The file stays when the lock is given back: to remove it would let two gateways lock
    two files of one name.
    """

    def __init__(self, path: Path | str) -> None:
        """Nothing is touched before `lock`."""
        self.path = Path(path).expanduser().absolute()
        self._lock_fd: int | None = None

    @property
    def database_url(self) -> str:
        """The durable store of a gateway that was given none."""
        return f"sqlite:///{self.path / SQLITE_NAME}"

    def lock(self) -> None:
        """The folder exists (made with mode 0700) and belongs to this process until `unlock` or its end.

        An existing folder keeps its mode: it may be somebody's mounted volume. What must be private has a
        folder of its own inside. Safe to repeat.

        Raises:
            FolderInUse: another gateway holds the lock; the error names its pid.
            FolderUnusable: the folder cannot be made or written to.
        """
        if self._lock_fd is not None:
            return
        try:
            make_private(self.path)
            # Python opens files close-on-exec, so a server started from here cannot keep the lock alive.
            fd = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            raise FolderUnusable(f"the data folder {self.path} cannot be used: {exc.strerror}") from exc
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(fd, 32, 0).strip()
            os.close(fd)
            raise FolderInUse(self.path, int(holder) if holder.isdigit() else None) from exc
        except OSError as exc:
            os.close(fd)
            raise FolderUnusable(
                f"the data folder {self.path} cannot be locked ({exc.strerror}): it must be on a local disk"
            ) from exc
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock_fd = fd

    def unlock(self) -> None:
        """Another gateway may use the folder. Safe to repeat."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def __enter__(self) -> DataFolder:
        self.lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unlock()


def make_private(path: Path) -> None:
    """The folder exists; where it had to be made, only its owner can look inside (0700, any umask)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(0o700)
