"""The data folder belongs to one gateway."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.embedded import DataFolder, FolderInUse, FolderUnusable, PrivateRedis
from tests.embedded.gateways import LOCKING_GATEWAY, running_gateway
from tests.servers import redis_binary


def test_folder_missing_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """A new data folder has mode 0700 whatever the umask, also below folders that do not exist yet."""
    before = os.umask(0)
    try:
        with DataFolder(tmp_path / "deep" / "data") as folder:
            mode = folder.path.stat().st_mode & 0o777
    finally:
        os.umask(before)

    assert mode == 0o700


def test_folder_existing_keeps_its_mode(tmp_path: Path) -> None:
    """A folder that somebody made, such as a mounted volume, is used as it is."""
    tmp_path.chmod(0o750)

    with DataFolder(tmp_path):
        mode = tmp_path.stat().st_mode & 0o777

    assert mode == 0o750


def test_folder_of_a_running_gateway_is_refused_with_folder_and_pid(tmp_path: Path) -> None:
    """A second gateway is told which folder, and which process has it."""
    with running_gateway(LOCKING_GATEWAY, tmp_path) as gateway, pytest.raises(FolderInUse) as refused:
        DataFolder(tmp_path).lock()

    assert refused.value.folder == tmp_path
    assert refused.value.pid == gateway.process.pid
    assert str(tmp_path) in str(refused.value)
    assert str(gateway.process.pid) in str(refused.value)


def test_folder_of_a_killed_gateway_is_free(tmp_path: Path) -> None:
    """The lock ends with its process: what a kill -9 leaves behind locks nobody out."""
    with running_gateway(LOCKING_GATEWAY, tmp_path) as gateway:
        gateway.kill()

        with DataFolder(tmp_path) as folder:
            holder = (folder.path / "gateway.lock").read_text()

    assert holder == f"{os.getpid()}\n"


def test_folder_twice_in_one_process_is_refused(tmp_path: Path) -> None:
    """Two gateways in one process are two gateways; the same one may lock again."""
    with DataFolder(tmp_path) as folder:
        folder.lock()

        with pytest.raises(FolderInUse):
            DataFolder(tmp_path).lock()


def test_folder_lock_is_not_inherited_by_a_server(short_path: Path) -> None:
    """A server that outlives its gateway for a moment does not keep the folder locked."""
    folder = DataFolder(short_path / "data")
    folder.lock()
    server = PrivateRedis(folder.path / "redis", redis_binary("valkey"))
    server.start()
    try:
        folder.unlock()

        with DataFolder(folder.path):
            assert server.is_running
    finally:
        server.stop()


def test_folder_that_is_a_file_is_unusable(tmp_path: Path) -> None:
    """A path that cannot be a folder is refused with its name, not with a traceback from inside."""
    path = tmp_path / "data"
    path.write_text("not a folder")

    with pytest.raises(FolderUnusable, match=str(path)):
        DataFolder(path).lock()
