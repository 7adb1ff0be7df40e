"""Redis is there and does not answer, because somebody keeps it busy or has told it to pause, while traffic flows."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Final

import pytest
import redis

from gateway.embedded import PrivateRedis
from gateway.service.ticking import LEAD_MS
from tests.faults.conftest import SiteOf, shuffled
from tests.faults.replicated import client_of
from tests.faults.window import Window

pytestmark = pytest.mark.faults

#: The shard's clock goes 2 s without a tick and then stands until the next: that far events are behind after so long a silence.
SILENCE_MS_MAX: Final = 3000
CLOCK_OFF_MS: Final = SILENCE_MS_MAX - LEAD_MS + 500

#: A function that does nothing for so many ms. It counts by processor time: TIME stands still in a script of a newer server.
SPIN: Final = """#!lua name=tester
redis.register_function('spin', function(_, arguments)
  local began = os.clock()
  repeat until os.clock() - began >= tonumber(arguments[1]) / 1000
  return 'done'
end)
"""


async def test_redis_kept_busy_by_a_script_is_waited_for_with_a_bound(
    site_of: SiteOf, hot: PrivateRedis, rng: random.Random
) -> None:
    """Somebody's function runs for seconds: whoever waits is told, and not as failed; afterwards everything works.

    From its busy-reply-threshold on the server answers BUSY, before that nothing at all.
    """
    site = site_of(gateways=2)
    site.clock_off_ms = CLOCK_OFF_MS

    async def broken(told: str) -> None:
        with client_of(hot) as client:
            client.config_set("busy-reply-threshold", 200 if told == "BUSY" else 60_000)
            client.function_load(SPIN, replace=True)
        window = Window(site.history)
        await asyncio.to_thread(spin, hot, rng.randint(1500, SILENCE_MS_MAX))
        window.close()
        print(f"while it was busy and said {told}: {dict(window.told())}")
        assert window.told(), "nobody noticed that it was busy"
        assert {code for code, _ in window.told()} & {"hot_store_unavailable", "overloaded"}
        assert window.unanswered() == []

    await site.ordeal(rng, broken, shuffled(rng, ["nothing", "nothing", "BUSY", "BUSY"]), (0.8, 1.6))

    await site.verdict()


def spin(server: PrivateRedis, ms: int) -> None:
    """The server has done nothing else for as long."""
    with redis.Redis.from_url(server.url, decode_responses=True, socket_timeout=60) as client:
        assert client.fcall("spin", 0, str(ms)) == "done"


async def test_redis_paused_is_waited_for_with_a_bound(site_of: SiteOf, hot: PrivateRedis, rng: random.Random) -> None:
    """CLIENT PAUSE for seconds: what waited in its sockets and comes too late changes nothing, what was resent happens once."""
    site = site_of(gateways=2)
    site.clock_off_ms = CLOCK_OFF_MS
    noticed: Counter[str] = Counter()

    async def broken(kind: str) -> None:
        window = Window(site.history)
        pause_ms = rng.randint(1500, SILENCE_MS_MAX)
        with client_of(hot) as client:
            client.execute_command("CLIENT", "PAUSE", pause_ms, kind)
        await asyncio.sleep(pause_ms / 1000)
        window.close()
        print(f"in a pause of {kind} of {pause_ms} ms: {dict(window.told())}")
        noticed[kind] += window.told("reserve").total()
        assert window.unanswered() == []

    await site.ordeal(rng, broken, shuffled(rng, ["ALL", "ALL", "WRITE", "WRITE"]), (0.8, 1.6))

    # One of them may pass while all clients wait as they were told after the one before.
    assert min(noticed["ALL"], noticed["WRITE"]) > 0, noticed
    await site.verdict()
