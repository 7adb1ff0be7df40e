"""The primary wants a replica and has none, while traffic flows."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import pytest

from gateway.embedded import PrivateRedis
from tests.faults.conftest import SiteOf, shuffled
from tests.faults.redis_process import kill, restarted
from tests.faults.replicated import Replicated, client_of, freeze, thaw, until
from tests.faults.window import Window

pytestmark = pytest.mark.faults

#: More than the kernel's buffers between two processes hold.
BULK_BYTES: Final = 24 * 1024 * 1024
#: The least that the servers allow; a replica's limit that is below it does not count.
BACKLOG_BYTES: Final = 16 * 1024
BUFFER_BYTES_MAX: Final = 1024 * 1024  # room for the function library, which is one command of 70 kB


@pytest.fixture
def hot(pair: Replicated) -> PrivateRedis:
    """The primary."""
    return pair.primary


async def test_primary_without_its_replica_takes_nothing_and_says_so(
    site_of: SiteOf, pair: Replicated, rng: random.Random
) -> None:
    """min-replicas-to-write 1: without a replica every change is refused, and has not happened; with it all goes on.

    The replica is killed; or it stands still until the primary throws it out, because more waits for it than may.
    """
    async with pair.followed():
        site = site_of(redis_way=None)
        with client_of(pair.primary) as client:
            client.config_set("min-replicas-to-write", 1)
            client.config_set("repl-backlog-size", BACKLOG_BYTES)
            client.config_set("client-output-buffer-limit", f"replica {BUFFER_BYTES_MAX} 0 0")
        await until(lambda: replicas_of(pair.primary) == 1, 20)  # it follows, but counts only once it has said so

        async def broken(gone: str) -> None:
            if gone == "killed":
                kill(pair.replica)
            else:
                freeze(pair.replica)
                with client_of(pair.primary) as client:
                    client.set("bulk", rng.randbytes(BULK_BYTES))
            await until(lambda: replicas_of(pair.primary) == 0, 20)
            window = Window(site.history)
            await asyncio.sleep(rng.uniform(1, 2))
            await window.until(lambda: window.told("reserve")["hot_store_unavailable", "not_applied"])
            window.close()
            if gone == "killed":
                await restarted(pair.replica)
            else:
                thaw(pair.replica)
            await pair.follow()
            await until(lambda: replicas_of(pair.primary) == 1, 20)
            with client_of(pair.primary) as client:
                client.delete("bulk")
            print(f"without a replica, which was {gone}: {dict(window.told())}")
            assert window.done("reserve", "release", "put", "adjust") == 0
            assert "unknown" not in {outcome for code, outcome in window.told() if code == "hot_store_unavailable"}

        await site.ordeal(rng, broken, shuffled(rng, ["killed", "thrown out"]), (1, 2))

        await site.verdict()


def replicas_of(server: PrivateRedis) -> int:
    """How many replicas the primary counts as good."""
    with client_of(server) as client:
        return int(client.info("replication")["min_slaves_good_slaves"])
