"""The private Redis that ends is started again: when, how often, and when not."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from gateway.app.revival import PAUSE_S_MAX, STEADY_S, Revival, kept_alive
from gateway.embedded import FolderUnusable, PrivateRedis
from gateway.embedded.resp import ask
from tests.servers import redis_binary


class Server:
    """A private Redis as the revival sees it; its life is the test's."""

    def __init__(self) -> None:
        self.has_ended = False
        self.exit_code: int | None = None
        self.pid: int | None = 1
        self.starts = 0
        self.problem: Exception | None = None

    def end(self) -> None:
        self.has_ended, self.exit_code, self.pid = True, -9, None

    def relaunch(self) -> None:
        self.starts += 1
        if self.problem is not None:
            raise self.problem
        self.has_ended, self.exit_code, self.pid = False, None, 1 + self.starts


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def revival(server: Server, clock: Clock) -> Revival:
    """One without chance: the pauses are as long as they may be."""
    return Revival(server, clock=clock, jitter=lambda: 1.0)


async def test_revival_leaves_a_living_server_alone(revival: Revival, server: Server) -> None:
    """Nothing to do is nothing done."""
    assert await revival.step() == 0
    assert server.starts == 0


async def test_revival_starts_a_server_that_lived_for_long_at_once(
    revival: Revival, server: Server, clock: Clock
) -> None:
    """The first look finds it dead, tells so and starts it."""
    clock.now_s = STEADY_S
    server.end()

    with structlog.testing.capture_logs() as lines:
        done = await revival.step()

    assert (done, server.starts) == (1, 1)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("private_redis_ended", "error"),
        ("private_redis_started", "warning"),
    ]
    assert (lines[0]["status"], lines[0]["again_in_ms"], lines[1]["pid"]) == (-9, 0, 2)


async def waited_s(revival: Revival, server: Server, clock: Clock) -> float:
    """The server has just ended: how long it takes until it is started again."""
    began_s, starts = clock.now_s, server.starts
    while server.starts == starts:
        await revival.step()
        clock.now_s += 0.05
    return clock.now_s - 0.05 - began_s


async def test_revival_waits_twice_as_long_after_each_short_life(
    revival: Revival, server: Server, clock: Clock
) -> None:
    """From a tenth of a second up to ten, and from the beginning again after a life that was long."""
    pauses = []
    for _ in range(9):
        server.end()
        pauses.append(await waited_s(revival, server, clock))
    clock.now_s += STEADY_S
    server.end()
    steady = await waited_s(revival, server, clock)

    expected = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, PAUSE_S_MAX, PAUSE_S_MAX]
    assert pauses == pytest.approx(expected, abs=0.06)  # a look comes every 50 ms
    assert steady == pytest.approx(0)


async def test_revival_waits_half_of_the_pause_for_sure(server: Server, clock: Clock) -> None:
    """The other half is chance, so that many gateways of one machine do not come back at one moment."""
    revival = Revival(server, clock=clock, jitter=lambda: 0.0)
    server.end()

    assert await waited_s(revival, server, clock) == pytest.approx(0.05, abs=0.001)


async def test_revival_counts_a_start_that_fails_as_a_short_life(
    revival: Revival, server: Server, clock: Clock
) -> None:
    """The failure goes to whoever repeats the step, and the next attempt comes later, not never."""
    server.problem = FolderUnusable("no room")
    server.end()
    began_s, attempts_s = clock.now_s, []
    while len(attempts_s) < 5:
        try:
            await revival.step()
        except FolderUnusable:
            attempts_s.append(round(clock.now_s - began_s, 2))
        clock.now_s = round(clock.now_s + 0.01, 2)
    server.problem = None
    await waited_s(revival, server, clock)

    gaps = [later - sooner for sooner, later in pairwise(attempts_s)]
    assert attempts_s[0] == pytest.approx(0.1, abs=0.02)
    assert gaps == pytest.approx([0.2, 0.4, 0.8, 1.6], abs=0.03)
    assert not server.has_ended


async def test_nothing_is_kept_alive_where_redis_is_not_ours() -> None:
    """A Redis that was given is somebody else's to start."""
    before = asyncio.all_tasks()

    async with kept_alive(None) as let_die:
        assert asyncio.all_tasks() == before
        let_die()


@pytest.fixture
def real(short_path: Path) -> Iterator[PrivateRedis]:
    """A running private Redis."""
    redis = PrivateRedis(short_path / "redis", redis_binary("valkey"))
    redis.start()
    yield redis
    redis.stop()


async def ended(redis: PrivateRedis) -> None:
    """The server was killed."""
    process = redis._process
    assert process is not None
    process.send_signal(signal.SIGKILL)
    process.wait()


async def test_kept_alive_server_is_back_with_its_data_until_it_is_let_die(real: PrivateRedis) -> None:
    """Killed: started again with what it held. Killed after the drain began: left alone. Stopped: left alone."""
    async with kept_alive(real) as let_die:
        assert ask(real.address, "SET", "held", "1") == "+OK"
        await ended(real)
        async with asyncio.timeout(60):
            while not real.is_running:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        await asyncio.to_thread(real.wait_ready)
        kept = ask(real.address, "EXISTS", "held")
        let_die()
        await ended(real)
        await asyncio.sleep(0.5)
        is_left = not real.is_running

    assert kept == ":1"
    assert is_left


async def test_kept_alive_server_that_is_stopped_stays_stopped(real: PrivateRedis) -> None:
    """A stop is no death."""
    async with kept_alive(real):
        real.stop()
        await asyncio.sleep(0.3)

        assert not real.is_running
        assert not real.has_ended
