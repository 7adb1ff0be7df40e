"""A hot standby without a primary: a copy of a cluster that waits for a log that never comes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from gateway.embedded import PrivatePostgres
from gateway.embedded.binaries import find_postgres


@contextmanager
def standby_of(server: PrivatePostgres, folder: Path) -> Iterator[str]:
    """A copy of a stopped server's cluster runs, answers and takes no writes; yields its URL."""
    owner = (server.folder / "cluster").stat()
    cluster, sockets = folder / "standby", folder / "s"
    shutil.copytree(server.folder / "cluster", cluster)
    sockets.mkdir()
    (cluster / "standby.signal").touch()
    for path in [cluster, sockets, *cluster.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    # As root the launcher may have copied the installation to where the server's user can reach it.
    copied = next(server.folder.glob("**/bin/pg_ctl"), None)
    control = [str(copied or find_postgres(server.source) / "pg_ctl"), "-w", "-D", str(cluster)]
    options = f"-c listen_addresses= -c unix_socket_directories={sockets} -c port=5432"

    def run(*words: str) -> None:
        user = owner.st_uid if os.geteuid() == 0 else None
        group = owner.st_gid if os.geteuid() == 0 else None
        subprocess.run(
            [*control, *words],
            check=True,
            env={**os.environ, "LC_ALL": "C"},
            cwd=cluster,
            stdout=subprocess.DEVNULL,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )

    run("-l", str(cluster / "log"), "-o", options, "start")
    try:
        yield f"postgresql://postgres:{urlsplit(server.url).password}@/gateway?host={sockets}"
    finally:
        run("-m", "immediate", "stop")
