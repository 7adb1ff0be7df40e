"""What is said of the place where a SQLite file lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.durable import filesystem

TABLE = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:5 / /dev rw - devtmpfs devtmpfs rw
31 30 0:6 / /dev/shm rw - tmpfs tmpfs rw
40 22 0:40 / /mnt/share rw master:2 - nfs4 server:/x rw
41 22 0:41 / /mnt/with\040blank rw - overlay overlay rw
42 40 0:42 / /mnt/share rw - xfs /dev/vdb rw
""".strip()


@pytest.fixture(autouse=True)
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's table of mounts, as a test wants it."""
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    monkeypatch.setattr(filesystem, "_MOUNTS", table)
    return table


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/g.db", "ext4"),
        ("/dev/shm/g.db", "tmpfs"),
        ("/dev/shmx/g.db", "devtmpfs"),
        ("/mnt/with blank/a/g.db", "overlay"),
        ("/mnt/share/g.db", "xfs"),
    ],
)
def test_filesystem_of_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    """The longest mount point wins, of two equal ones the later; a similar name is not a parent."""
    assert filesystem.filesystem_of(Path(path)) == kind


def test_unwise_place_says_why(mounts: Path) -> None:
    """Memory, a container's layer and a network are told, each with its reason; a disk is not."""
    mounts.write_text(TABLE.rpartition("\n")[0])

    assert filesystem.unwise_place(Path("/var/g.db")) is None
    assert "in memory" in str(filesystem.unwise_place(Path("/dev/shm/g.db")))
    assert "container" in str(filesystem.unwise_place(Path("/mnt/with blank/g.db")))
    assert "nfs4" in str(filesystem.unwise_place(Path("/mnt/share/g.db")))


def test_unwise_place_without_a_table_says_nothing(mounts: Path) -> None:
    """Where the kernel has no such table there is nothing to go by."""
    mounts.unlink()

    assert filesystem.unwise_place(Path("/dev/shm/g.db")) is None
