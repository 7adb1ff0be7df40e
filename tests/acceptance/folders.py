"""What may happen to the folder of a gateway that does not run."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

GONE_SECONDS_MAX = 10


def lose_redis(data_dir: Path) -> None:
    """The private Redis has ended and all its files are gone.

    After a kill -9 of the gateway the server dies with its parent, but not in the same instant.
    """
    end = time.monotonic() + GONE_SECONDS_MAX
    while (pid := redis_pid(data_dir)) is not None and is_alive(pid):
        assert time.monotonic() < end, f"the private Redis {pid} outlived its gateway"
        time.sleep(0.02)
    shutil.rmtree(data_dir / "redis")


def redis_pid(data_dir: Path) -> int | None:
    """The process id that the private Redis has written down, None if it has not."""
    try:
        text = (data_dir / "redis" / "server.pid").read_text()
    except FileNotFoundError:  # a server that ends takes its file with it
        return None
    return int(text) if text.strip() else None


def is_alive(pid: int) -> bool:
    """A process of this id exists and is not a zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
