"""Redis goes away and comes back: what is answered meanwhile, and that everything goes on afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from gateway.embedded import PrivateRedis
from tests.acceptance.client import Client
from tests.acceptance.gateways import Gateway
from tests.acceptance.patience import until
from tests.acceptance.sockets import RESERVE, connection, head

#: Until all is as before: less than the lease of a Redis that was lost, more than a machine stands still.
SECONDS_MAX = 20


@pytest.fixture
async def on_own_redis(
    own_redis: PrivateRedis, new_gateway: Callable[..., Gateway], client_of: Callable[[Gateway], Client]
) -> Client:
    """A gateway whose Redis the test may end, impatient and restless enough for a test."""
    running = new_gateway(
        GATEWAY_REDIS_URL=own_redis.url,
        # what a request waits for a Redis that is away
        GATEWAY_REDIS__COMMAND_TIMEOUT_MS="2500",
        # the flusher asks all the time, so that one of its questions is on its way when Redis ends
        GATEWAY_FLUSH__POLL_MS="1",
    )
    running.start()
    return client_of(running)


async def test_redis_that_ended_is_told_and_its_return_is_noticed(
    on_own_redis: Client, own_redis: PrivateRedis
) -> None:
    """503 with Retry-After and a truthful outcome, /readyz 503 naming redis, /healthz 200; then all is as before."""
    api = on_own_redis
    await api.stock_up("A", 5)
    held = await api.hold("A", 2, ack="durable")

    own_redis.stop()
    refused = await asyncio.gather(api.reserve(("A", 1), key="k"), api.act("confirm", held["id"]))
    ready = await api.session.get(f"{api.address}/readyz")
    checks = (await ready.json())["checks"]
    alive = await api.get("/healthz")
    listed = await api.get("/v1/reservations")
    own_redis.start()

    assert {answer.status for answer in refused} == {503}
    assert {answer.code for answer in refused} <= {"hot_store_unavailable", "shard_recovering"}
    assert (ready.status, alive.status) == (503, 200)
    assert checks["durable"]["ok"] is True
    assert checks["redis"]["ok"] is False
    assert [reservation["id"] for reservation in listed.body["reservations"]] == [held["id"]]

    async def is_back() -> bool:
        return (await api.reserve(("A", 1), key="k")).status == 201

    await until(is_back)
    assert (await api.reservation(held["id"]))["state"] == "held"
    assert await api.counters("A") == (5, 3, 0, 2)


async def test_request_that_waited_longer_than_its_deadline_is_not_applied(
    own_redis: PrivateRedis, new_gateway: Callable[..., Gateway], client_of: Callable[[Gateway], Client]
) -> None:
    """Redis stands still: when it goes on, a request with 50 ms is 503 `overloaded` and not applied, one with a minute is served."""
    running = new_gateway(GATEWAY_REDIS_URL=own_redis.url)
    running.start()
    api = client_of(running)
    await api.stock_up("A", 5)
    target = f"/v1/reservations?shop={api.shop}"
    assert own_redis.pid is not None

    async with connection(api.address) as late, connection(api.address) as early:
        os.kill(own_redis.pid, signal.SIGSTOP)
        try:
            for wire, deadline_ms in ((late, 50), (early, 60_000)):
                await wire.send(head("POST", target, len(RESERVE), f"Request-Deadline-Ms: {deadline_ms}") + RESERVE)
            for _ in range(3):  # the gateway has read what was sent before it reads these
                assert (await api.get("/healthz")).status == 200
            await asyncio.sleep(0.2)
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)
        refused, served = await late.answer(), await early.answer()

    assert (refused[0], refused[2]["code"]) == (503, "overloaded")
    assert served[0] == 201
    assert await api.counters("A") == (5, 1, 0, 4)


async def test_commits_go_on_after_redis_was_away(on_own_redis: Client, own_redis: PrivateRedis) -> None:
    """Redis restarts with its data, three times: each time durable answers are given again within seconds."""
    api = on_own_redis
    await api.stock_up("A", 50)

    async def is_durable() -> bool:
        return (await api.reserve(("A", 1), ack="durable")).status == 201

    for turn in range(3):
        own_redis.stop()
        await asyncio.sleep(0.05 * turn)
        own_redis.start()
        await until(is_durable, SECONDS_MAX)

    await until(api.is_ready, SECONDS_MAX)  # each job tells of its failures until its next turn
    assert (await api.get("/v1/admin/conservation")).body["violations"] == []


@pytest.mark.parametrize("idle_seconds", [0, 0.5])
async def test_stop_without_redis_ends_in_time(
    own_redis: PrivateRedis,
    new_gateway: Callable[..., Gateway],
    client_of: Callable[[Gateway], Client],
    idle_seconds: float,
) -> None:
    """Redis ends, in the middle of work or after a quiet moment, then SIGTERM comes: it ends in under ten seconds.

    Started again with its Redis, everything is there.
    """
    running = new_gateway(
        GATEWAY_REDIS_URL=own_redis.url, GATEWAY_REDIS__COMMAND_TIMEOUT_MS="2000", GATEWAY_FLUSH__POLL_MS="1"
    )
    running.start()
    api = client_of(running)
    await api.stock_up("A", 5)
    held = await api.hold("A")
    await asyncio.sleep(idle_seconds)
    own_redis.stop()

    running.signal(signal.SIGTERM)
    await asyncio.to_thread(running.wait)
    own_redis.start()
    running.start()

    assert (await client_of(running).reservation(held["id"]))["state"] == "held"
