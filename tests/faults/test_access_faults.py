"""Redis forgets the scripts, or does not let them do what they must, while traffic flows."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.embedded import PrivateRedis
from tests.faults.conftest import SiteOf, shuffled
from tests.faults.replicated import client_of
from tests.faults.window import Window
from tests.servers import redis_binary, redis_ids

pytestmark = pytest.mark.faults

FLUSH_SECONDS = 0.1


async def test_scripts_forgotten_again_and_again_are_loaded_again(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """SCRIPT FLUSH and FUNCTION FLUSH ten times a second: nobody is told more than to come again, and sales go on."""
    site = site_of(gateways=2)

    async def broken(_: int) -> None:
        window, flushes = Window(site.history), 0
        end_s = time.monotonic() + rng.uniform(2, 3)
        with client_of(hot) as client:
            while time.monotonic() < end_s:
                client.script_flush()
                client.function_flush()
                flushes += 1
                await asyncio.sleep(FLUSH_SECONDS * rng.uniform(0.5, 1.5))
        window.close()
        print(f"{flushes} times forgotten: {window.done()} done, {dict(window.told())}")
        assert window.done("reserve") > flushes
        assert "unknown" not in {outcome for _, outcome in window.told()}

    await site.ordeal(rng, broken, range(2), (0.5, 1.5))

    await site.verdict()


@pytest.fixture
def server_id() -> str:
    """Both servers word a denial in their own way."""
    return "valkey"


@pytest.fixture
def hot(short_path: Path, server_id: str) -> Iterator[PrivateRedis]:
    """As the usual one, of the kind that is asked for."""
    server = PrivateRedis(short_path / "redis", redis_binary(server_id), {"appendfsync": "always"})
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("server_id", [one for one in redis_ids() if one != "given"])
async def test_command_taken_from_the_scripts_leaves_no_half_of_a_change(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """ACL SETUSER under load: what stopped before its first write has not happened, what stopped after it is rebuilt from its entry.

    XADD is the first write; ZADD comes after it; without HSET the shard can not even be poisoned. Given back, all goes on.
    """
    site = site_of()

    async def broken(command: str) -> None:
        epoch, window = (await site.committed())[0], Window(site.history)
        with client_of(hot) as client:
            client.execute_command("ACL", "SETUSER", "default", f"-{command}")
            await asyncio.sleep(rng.uniform(0.5, 1.2))
            await window.until(
                lambda: {code for code, _ in window.told()} & {"hot_store_unavailable", "shard_recovering"}
            )
            window.close()
            client.execute_command("ACL", "SETUSER", "default", f"+{command}")
        await site.ready()
        print(f"without {command}: {dict(window.told())}, epoch {epoch}, then {(await site.committed())[0]}")
        if command == "xadd":
            assert {outcome for code, outcome in window.told() if code == "hot_store_unavailable"} == {"not_applied"}

    await site.ordeal(rng, broken, shuffled(rng, ["xadd", "zadd", "hset"]), (0.5, 1.5))

    await site.verdict()
