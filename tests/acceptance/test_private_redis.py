"""The private Redis ends while its gateway works: it is started again, and nothing that was confirmed is lost."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.client import Client
from tests.acceptance.folders import is_alive, redis_pid
from tests.acceptance.gateways import Gateway
from tests.acceptance.patience import answered, until
from tests.acceptance.sockets import begun_head, connection

ClientOf = Callable[[Gateway], Client]
BUYERS = 6
PURCHASES = 15
READY_SECONDS_MAX = 20
LOST = {"reservation_lost", "reservation_not_found"}


@pytest.fixture
def embedded(new_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway without settings: its Redis is its own child."""
    running = new_gateway()
    running.start()
    return running


async def pid_of(gateway: Gateway) -> int:
    """The process id of the gateway's private Redis, when it has written it down."""

    async def is_there() -> bool:
        pid = redis_pid(gateway.data_dir)
        return pid is not None and is_alive(pid)

    await until(is_there, READY_SECONDS_MAX)
    pid = redis_pid(gateway.data_dir)
    assert pid is not None
    return pid


async def kill_redis(gateway: Gateway, number: signal.Signals = signal.SIGKILL) -> int:
    """The private Redis has got the signal; returns the pid that it had."""
    pid = await pid_of(gateway)
    os.kill(pid, number)
    return pid


async def buy(api: Client, buyer: int, confirmed: list[str], *, may_lose: bool) -> None:
    """Holds of one unit, each confirmed, with a key each; a hold that was lost with Redis is made anew."""
    for number in range(PURCHASES):
        for attempt in range(5):
            key = f"{buyer}-{number}-{attempt}"
            held = await answered(lambda key=key: api.reserve(("A", 1), key=key))
            assert held.status == 201, held.text
            sold = await answered(lambda id=held.body["id"]: api.act("confirm", id))
            if sold.status == 200:
                assert sold.body["durable"] is True
                confirmed.append(held.body["id"])
                break
            assert may_lose, sold.text
            assert sold.code in LOST, sold.text
        else:
            raise AssertionError("five holds in a row were lost")


async def ends_of_redis(api: Client, gateway: Gateway, confirmed: list[str], folder: Path | None) -> list[float]:
    """Redis is killed twice in the middle of the sales; the seconds until the gateway was ready again."""
    seconds = []
    for share in (0.25, 0.6):
        while len(confirmed) < share * BUYERS * PURCHASES:  # noqa: ASYNC110 - buyers only append
            await asyncio.sleep(0.002)
        if folder is not None:
            shutil.rmtree(folder)  # the living server goes on with its open files, the next one finds none
        before = await kill_redis(gateway)
        began = time.monotonic()

        async def is_back(before: int = before) -> bool:
            return not is_alive(before) and await api.is_ready()

        await until(is_back, READY_SECONDS_MAX)
        seconds.append(time.monotonic() - began)
    return seconds


@pytest.mark.parametrize("is_file_lost", [False, True], ids=["file kept", "file lost"])
async def test_killed_private_redis_is_started_again_and_all_confirmed_sales_are_there(
    embedded: Gateway, client_of: ClientOf, is_file_lost: bool
) -> None:
    """kill -9 of the child, twice, under traffic: ready within seconds, every sale that was answered stands, the books agree.

    With its append-only file nothing at all is lost. Without it the shard is rebuilt from the durable store.
    """
    api = client_of(embedded)
    await api.stock_up("A", 10_000)
    confirmed: list[str] = []
    folder = embedded.data_dir / "redis" / "appendonlydir" if is_file_lost else None

    seconds, *_ = await asyncio.gather(
        ends_of_redis(api, embedded, confirmed, folder),
        *[buy(api, buyer, confirmed, may_lose=is_file_lost) for buyer in range(BUYERS)],
    )

    assert max(seconds) < READY_SECONDS_MAX
    assert len(set(confirmed)) == BUYERS * PURCHASES
    on_hand, held, committed, _ = await api.counters("A")
    assert (on_hand, committed) == (10_000, len(confirmed))
    if not is_file_lost:
        assert held == 0
    for reservation_id in confirmed:
        assert (await api.reservation(reservation_id))["state"] == "confirmed"
    assert (await api.get("/v1/admin/conservation")).body["violations"] == []
    assert embedded.log.count("private_redis_started") == 2
    assert is_alive(await pid_of(embedded))


async def test_private_redis_that_ends_by_itself_is_started_again(embedded: Gateway, client_of: ClientOf) -> None:
    """A clean end that nobody of ours asked for is an end, too."""
    api = client_of(embedded)
    await api.stock_up("A", 5)
    held = await api.hold("A", ack="durable")
    await kill_redis(embedded, signal.SIGTERM)

    await until(lambda: started(embedded, 1), READY_SECONDS_MAX)
    found = await answered(lambda: api.get(f"/v1/reservations/{held['id']}"))

    assert (found.status, found.body["state"]) == (200, "held")
    await until(api.is_ready, READY_SECONDS_MAX)


async def started(gateway: Gateway, count: int) -> bool:
    """Whether the private Redis was started again so many times."""
    return gateway.log.count("private_redis_started") >= count


async def test_private_redis_that_is_killed_again_and_again_is_started_at_a_bounded_rate(
    embedded: Gateway, client_of: ClientOf
) -> None:
    """Each start waits longer than the one before, and the last one serves."""
    api = client_of(embedded)
    for count in range(1, 5):
        await kill_redis(embedded)
        await until(lambda count=count: started(embedded, count), READY_SECONDS_MAX)

    await until(api.is_ready, READY_SECONDS_MAX)

    pauses = [int(text) for text in re.findall(r'"again_in_ms": ?(\d+)', embedded.log)]
    assert len(pauses) == 4
    assert 50 <= pauses[0] <= 100
    assert 400 <= pauses[3] <= 800


async def test_private_redis_that_ends_while_the_gateway_drains_stays_down(
    new_gateway: Callable[..., Gateway], client_of: ClientOf
) -> None:
    """It ends in time with status 0, starts nothing on its way out and leaves nothing running."""
    # As by default: a job that asks a Redis which is away waits so long, and the stop for it.
    embedded = new_gateway(GATEWAY_REDIS__COMMAND_TIMEOUT_MS="2000", GATEWAY_REDIS__CONNECT_TIMEOUT_MS="2000")
    embedded.start()
    api = client_of(embedded)
    await api.stock_up("A", 5)
    held = await api.hold("A", ack="durable")

    async def is_draining() -> bool:
        return '"draining"' in embedded.log

    # A request that is half sent keeps the gateway draining until Redis has ended.
    async with connection(embedded.address) as half:
        await half.send(begun_head("/v1/reservations"))
        await half.is_invited()
        embedded.signal(signal.SIGTERM)
        await until(is_draining)
        before = await kill_redis(embedded)
    status = await asyncio.to_thread(embedded.wait)

    assert status == 0, embedded.log
    assert "private_redis_started" not in embedded.log
    assert not is_alive(before)
    embedded.start()
    assert (await client_of(embedded).reservation(held["id"]))["state"] == "held"
