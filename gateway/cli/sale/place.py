"""Where the figures come from: the generator's machine, and the gateway as it tells of itself."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from gateway.cli.answer import RemoteFailed
from gateway.cli.remote import Remote

WORDS_MAX = 300
UNKNOWN = "unknown"


def describe_machine() -> dict[str, str]:
    """The generator's processors, system, Python, client library and load average: words by name."""
    cpu = Path("/proc/cpuinfo")
    names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.exists() else []
    model = names[0].partition(":")[2].strip() if names else platform.machine()
    told = {
        "processors": f"{os.cpu_count()} of {model}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "client": f"aiohttp {version('aiohttp')}",
    }
    if hasattr(os, "getloadavg"):
        told["load_average"] = f"{os.getloadavg()[0]:.2f} over the last minute, at the start"
    return told


async def describe_gateway(remote: Remote) -> dict[str, str]:
    """`version`, `readiness`, and each of its checks, as it tells them; `unknown` where it does not."""
    told = {"version": UNKNOWN, "readiness": UNKNOWN}
    try:
        document = await remote.glance("/openapi.json")
        readiness = await remote.glance("/readyz")
    except RemoteFailed:
        return told
    version_told = document.body.get("info")
    if isinstance(version_told, dict):
        told["version"] = _words(version_told.get("version", UNKNOWN))
    told["readiness"] = _words(readiness.body.get("status", UNKNOWN))
    checks = readiness.body.get("checks")
    for name, found in list(checks.items())[:10] if isinstance(checks, dict) else []:
        told[_words(name)] = _words(found)
    return told


def _words(found: object) -> str:
    """A JSON value as a person reads it, cut where it is long."""
    if isinstance(found, dict):
        return ", ".join(f"{name}: {_words(value)}" for name, value in found.items())[:WORDS_MAX]
    if isinstance(found, list):
        return "; ".join(_words(value) for value in found)[:WORDS_MAX]
    if isinstance(found, bool):
        return "yes" if found else "no"
    return str(found)[:WORDS_MAX]
