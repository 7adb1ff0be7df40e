"""Starting and ending: signals, a second gateway on one folder, and starts that are refused with a reason."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from gateway.embedded import PrivateRedis
from tests.acceptance.client import Client
from tests.acceptance.folders import is_alive, redis_pid
from tests.acceptance.gateways import STOP_SECONDS_MAX, Gateway
from tests.acceptance.patience import until
from tests.acceptance.sockets import RESERVE, begun_head, connection

ClientOf = Callable[[Gateway], Client]


async def test_request_in_flight_at_the_signal_is_finished(
    new_gateway: Callable[..., Gateway], client_of: ClientOf
) -> None:
    """Twenty requests are half sent when SIGTERM comes: each gets its answer, then the process ends with 0."""
    running = new_gateway()
    running.start()
    api = client_of(running)
    await api.stock_up("A", 100)
    target = f"/v1/reservations?shop={api.shop}&ack=durable"
    are_begun = asyncio.Barrier(21)

    async def slow(is_signalled: asyncio.Event) -> tuple[int, Any]:
        async with connection(running.address) as raw:
            await raw.send(begun_head(target))
            await raw.is_invited()
            await raw.send(RESERVE[:10])
            await are_begun.wait()
            await is_signalled.wait()
            await asyncio.sleep(0.2)
            await raw.send(RESERVE[10:])
            status, _, body = await raw.answer()
            return status, body

    is_signalled = asyncio.Event()
    requests = [asyncio.create_task(slow(is_signalled)) for _ in range(20)]
    async with asyncio.timeout(30):
        await are_begun.wait()
    running.signal(signal.SIGTERM)
    is_signalled.set()
    answers = await asyncio.gather(*requests)
    status = await asyncio.to_thread(running.wait)
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.get("/healthz")
    running.start()

    assert {answer[0] for answer in answers} == {201}, answers
    assert (status, running.stop_seconds < STOP_SECONDS_MAX) == (0, True)
    api = client_of(running)
    assert (await api.stock("A"))["held"] == 20
    for _, body in answers:
        assert (await api.reservation(body["id"]))["state"] == "held"


async def test_stop_under_load_keeps_every_answer(new_gateway: Callable[..., Gateway], client_of: ClientOf) -> None:
    """Buyers go on until nobody answers: what was answered from memory alone is there after the restart."""
    running = new_gateway()
    running.start()
    api = client_of(running)
    await api.stock_up("A", 100_000)
    answered: list[str] = []
    broken = 0

    async def buyer(number: int) -> None:
        nonlocal broken
        for turn in range(100_000):
            try:
                answer = await api.reserve(("A", 1), key=f"{number}-{turn}", ack="memory")
            except aiohttp.ClientConnectionError:
                broken += 1
                return
            if answer.status != 201:
                assert answer.status == 503, answer.text
                return
            answered.append(answer.body["id"])

    buyers = [asyncio.create_task(buyer(number)) for number in range(20)]
    async with asyncio.timeout(30):
        while len(answered) < 100:  # noqa: ASYNC110 - buyers only append
            await asyncio.sleep(0.01)
    running.signal(signal.SIGTERM)
    await asyncio.gather(*buyers)
    status = await asyncio.to_thread(running.wait)
    running.start()
    api = client_of(running)

    assert (status, running.stop_seconds < STOP_SECONDS_MAX) == (0, True)
    assert answered
    held = (await api.stock("A"))["held"]
    # a key that met a closed door may or may not have been applied: its answer was lost, not its effect
    assert len(answered) <= held <= len(answered) + broken
    for reservation_id in answered[-50:]:
        assert (await api.reservation(reservation_id))["state"] == "held"
    assert (await api.get("/v1/admin/conservation")).body["violations"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_that_the_parent_ignores_still_end_it(
    new_gateway: Callable[..., Gateway], number: signal.Signals
) -> None:
    """Started by a shell that ignores both, as in a background job: it drains, ends with 0, and its Redis with it."""
    running = new_gateway()
    running.start(["sh", "-c", 'trap "" INT TERM; exec "$@"', "sh"])
    pid = redis_pid(running.data_dir)
    assert pid is not None
    assert is_alive(pid)

    running.signal(number)
    status = await asyncio.to_thread(running.wait)

    assert status == 0
    assert not is_alive(pid)


async def test_second_gateway_on_one_folder_is_refused(
    new_gateway: Callable[..., Gateway], client_of: ClientOf
) -> None:
    """It says so in a line and ends; the first one goes on; when the first has ended the folder is free."""
    first, second = new_gateway(), new_gateway()
    first.start()
    second.settings["GATEWAY_DATA_DIR"] = str(first.data_dir)
    api = client_of(first)
    await api.stock_up("A", 5)

    status, log = await asyncio.to_thread(second.refused_start)
    after = await api.reserve(("A", 1), ack="durable")
    first.kill()
    second.start()

    assert status != 0
    assert "Traceback" not in log
    assert str(first.data_dir) in log
    assert after.status == 201
    assert (await client_of(second).stock("A"))["held"] == 1


async def test_redis_of_a_killed_gateway_dies_with_it(new_gateway: Callable[..., Gateway]) -> None:
    """kill -9 leaves no server behind."""
    running = new_gateway()
    running.start()
    pid = redis_pid(running.data_dir)
    assert pid is not None

    running.kill()

    async def is_gone() -> bool:
        return not is_alive(pid)

    await until(is_gone)


def test_start_with_wrong_settings_names_every_one_of_them(new_gateway: Callable[..., Gateway]) -> None:
    """Unknown, out of range and of another type: one refusal, all names, no traceback."""
    wrong = new_gateway(
        GATEWAY_HTTP__BODY_BYTES_MAXX="1",
        GATEWAY_ACK__TIMEOUT_MS="1",
        GATEWAY_FLUSH__BATCH_MAX="many",
        GATEWAY_NONSENSE="1",
    )

    status, log = wrong.refused_start()

    assert status != 0
    assert "Traceback" not in log
    for name in ("BODY_BYTES_MAXX", "TIMEOUT_MS", "BATCH_MAX", "NONSENSE"):
        assert name.lower() in log.lower(), log


def test_start_on_a_redis_that_evicts_is_refused(own_redis: PrivateRedis, new_gateway: Callable[..., Gateway]) -> None:
    """A policy that throws keys away would throw holds away: refused with the mend."""
    import redis

    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")

    status, log = new_gateway(GATEWAY_REDIS_URL=own_redis.url).refused_start()

    assert status != 0
    assert "noeviction" in log
    assert "Traceback" not in log


def test_start_without_its_redis_or_database_says_which(new_gateway: Callable[..., Gateway]) -> None:
    """Nothing listens there: it ends with a line that names the address it tried."""
    nowhere = {
        "GATEWAY_REDIS_URL": "redis://127.0.0.1:1/0",
        "GATEWAY_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    }
    for name, url in nowhere.items():
        status, log = new_gateway(**{name: url}).refused_start()
        assert status != 0, name
        assert "127.0.0.1:1" in log, log
        assert "Traceback" not in log, log


async def test_port_that_is_taken_is_told(gateway: Gateway, new_gateway: Callable[..., Gateway]) -> None:
    """The start ends with a line that names the port, and leaves no Redis behind."""
    port = gateway.address.rsplit(":", 1)[1]
    other = new_gateway(GATEWAY_PORT=port)

    status, log = await asyncio.to_thread(other.refused_start)

    assert status != 0
    assert port in log
    assert "Traceback" not in log
    pid = redis_pid(other.data_dir)
    assert pid is None or not is_alive(pid)
    assert is_alive(gateway.pid)
