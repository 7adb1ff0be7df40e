"""What happens to the process and the files of a Redis."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

import redis

from gateway.embedded import PrivateRedis


def kill(server: PrivateRedis) -> None:
    """kill -9: the process is gone, its files are as they were."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.is_running:
        time.sleep(0.005)


async def restarted(server: PrivateRedis) -> None:
    """It answers again at its address, with what its file has. Launched here: it ends with the thread that starts it."""
    server.relaunch()
    await asyncio.to_thread(server.wait_ready)


def empty(server: PrivateRedis) -> None:
    """FLUSHALL."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


def forget(server: PrivateRedis, name: str) -> None:
    """One key of the shard is deleted: `meta`, or another one of the generation in use."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        meta = "{rg0}:meta"
        client.delete(meta if name == "meta" else f"{{rg0}}:{client.hget(meta, 'gen')}:{name}")


def files(server: PrivateRedis) -> Path:
    """The folder of its append-only file."""
    return server.folder / "appendonlydir"


def cut_tail(server: PrivateRedis, size: int) -> None:
    """The last bytes of its file are gone, as after a loss of power."""
    newest = max(files(server).glob("*.incr.aof"), key=lambda path: path.stat().st_mtime_ns)
    os.truncate(newest, max(newest.stat().st_size - size, 0))


def put_back(server: PrivateRedis, copy: Path) -> None:
    """Its file is an older one."""
    shutil.rmtree(files(server))
    shutil.copytree(copy, files(server))
