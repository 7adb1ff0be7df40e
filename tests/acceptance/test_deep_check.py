"""`gateway check --deep` beside a real process: it asks while one runs, and reads the data folder when none does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.acceptance.client import Client
from tests.acceptance.conftest import ClientOf
from tests.acceptance.folders import redis_pid
from tests.acceptance.gateways import Gateway
from tests.cli.playing import command
from tests.cli.test_command import CLEAN


async def deep(gateway: Gateway, *words: str) -> tuple[int, str, str]:
    """The command with the gateway's own settings; its port was any that was free."""
    settings = {"GATEWAY_DATA_DIR": str(gateway.data_dir), "GATEWAY_PORT": "0"} | gateway.settings
    return await command("check", "--deep", *words, environ=CLEAN | settings)


async def test_deep_check_of_a_gateway_that_runs_looks_at_redis_too(api: Client, gateway: Gateway) -> None:
    """Over HTTP the whole check is made, holds in Redis and their indexes included."""
    await api.stock_up("A", 5)
    await api.hold("A", 2)

    status, out, err = await deep(gateway, "--url", gateway.address)

    assert (status, err) == (0, ""), out
    assert f"asked the gateway at {gateway.address}" in out
    assert "hot_holds" in out
    assert "verdict: 0 violations" in out
    assert "not checked" not in out


async def test_deep_check_of_a_data_folder_without_a_gateway_leaves_it_alone(
    new_gateway: Callable[..., Gateway], client_of: ClientOf
) -> None:
    """After a stop and after a kill -9 the private store is read; no server is started, no lock taken, nothing written."""
    running = new_gateway()
    for end in (running.stop, running.kill):
        running.start()
        api = client_of(running)
        await api.put_level("A", source=f"erp-{running.pid}", sequence=1, on_hand=5)
        await api.hold("A", 1, ack="durable")
        end()
        before = contents(running.data_dir)

        status, out, err = await deep(running)

        assert (status, err) == (0, ""), out
        assert "not checked: Redis" in out
        assert "verdict: 0 violations" in out
        assert contents(running.data_dir) == before
        assert redis_pid(running.data_dir) is None or end == running.kill


def contents(folder: Path) -> dict[str, bytes]:
    """Every file with something in it. The shared memory beside SQLite's file is its scratch, which readers use as well."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return {name: content for name, content in files.items() if content and not name.endswith("-shm")}
