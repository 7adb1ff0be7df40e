"""`gateway serve` with several workers: one port, commits for all, and whatever ends is started again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.embedded.address import free_port
from gateway.flush.follower import STALLED_S
from tests.app.serving import Served, served
from tests.service.stores import Stores

pytestmark = pytest.mark.usefixtures("stores")


@contextmanager
def supervised(stores: Stores, folder: Path, **settings: str) -> Iterator[Served]:
    """Two web workers and a working one, all serving."""
    port = free_port()
    with served(stores, folder, is_awaited=False, GATEWAY_WORKERS="2", GATEWAY_PORT=str(port), **settings) as gateway:
        gateway.port = port
        gateway.wait_for("workers_serve")
        yield gateway


def pids(gateway: Served) -> dict[str, int]:
    """The process ids of the workers, by name, as they were started last."""
    found: dict[str, int] = dict(gateway.wait_for("workers_serve")["pids"])
    for line in gateway.lines():
        if line["event"] == "worker_started":
            found[line["worker"]] = line["pid"]
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """It became so in time."""
    until_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until_s, "it did not become so in time"
        time.sleep(0.05)


def is_ready(gateway: Served) -> bool:
    """Whether a worker answers, and a commit comes through."""
    try:
        return gateway.request("GET", "/readyz")[0] == 200
    except OSError:
        return False


def flusher_problem(gateway: Served) -> str:
    """What readiness says of the flusher."""
    problem: str = gateway.request("GET", "/readyz")[1]["checks"]["flusher"].get("problem", "")
    return problem


def put(gateway: Served, sku: str, on_hand: int) -> None:
    """A count; what a busy machine does not see committed in time is told again."""
    count = {"source": "erp", "sequence": 1, "on_hand": on_hand}
    for _ in range(20):
        status, told = gateway.request("PUT", f"/v1/stock/{sku}/main", count)
        if status != 503:
            break
    assert status == 200, told


def reserve(gateway: Served, sku: str, key: str, ack: str = "durable") -> int:
    """The status of a hold of one unit; a lost connection is tried again under its key."""
    for _ in range(300):
        try:
            status, _told = gateway.request(
                "POST",
                f"/v1/reservations?ack={ack}",
                {"lines": [{"sku": sku, "quantity": 1}]},
                **{"Idempotency-Key": key},
            )
        except (OSError, HTTPException):
            status = 0
        if status in (201, 409):
            return status
        time.sleep(0.1)
    raise AssertionError("never answered")


def test_workers_sell_together_what_there_is_while_they_are_killed(stores: Stores, tmp_path: Path) -> None:
    """Each worker is killed in the middle of 300 durable holds; 200 units are held, no more, and every process is back."""
    with supervised(stores, tmp_path) as gateway:
        put(gateway, "tee", 200)
        first = pids(gateway)
        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(reserve, gateway, "tee", f"key-{number}") for number in range(300)]
            for name in ("web-1", "work", "web-2"):
                time.sleep(0.3)
                os.kill(first[name], signal.SIGKILL)
            statuses = [answer.result() for answer in answers]
        until(lambda: all(new != first[name] for name, new in pids(gateway).items()))
        until(lambda: all(is_ready(gateway) for _ in range(8)))  # whichever of them answers
        _, told = gateway.request("GET", "/v1/stock/tee")
        _, found = gateway.request("GET", "/v1/admin/conservation")
        last = pids(gateway)
        gateway.end()

    assert (statuses.count(201), statuses.count(409)) == (200, 100)
    assert (told["held"], told["available"]) == (200, 0)
    assert found["violations"] == []
    assert not any(map(is_alive, last.values()))


def test_workers_drain_in_order(stores: Stores, tmp_path: Path) -> None:
    """SIGTERM: what is in flight is committed and answered, which takes the working process; the exit status is 0, nobody is left."""
    with supervised(stores, tmp_path) as gateway:
        put(gateway, "tee", 100_000)
        workers = pids(gateway)
        statuses: list[int] = []

        def hold_until_the_end() -> None:
            try:
                while True:
                    body = {"lines": [{"sku": "tee", "quantity": 1}]}
                    statuses.append(gateway.request("POST", "/v1/reservations?ack=durable", body)[0])
            except (OSError, HTTPException):
                return

        with ThreadPoolExecutor(8) as pool:
            ends = [pool.submit(hold_until_the_end) for _ in range(8)]
            until(lambda: len(statuses) > 50)
            gateway.end()
            for end in ends:
                end.result()
    assert set(statuses) == {201}
    assert not any(map(is_alive, workers.values()))
    with served(stores, tmp_path) as again:
        _, told = again.request("GET", "/v1/stock/tee")
        assert told["held"] >= len(statuses)
        assert again.wait_for("shard_attached")["tail"] == 0, "the working process ended before all was committed"


def test_workers_end_with_their_supervisor(stores: Stores, tmp_path: Path) -> None:
    """A supervisor that is killed leaves nobody behind."""
    with supervised(stores, tmp_path) as gateway:
        workers = pids(gateway)
        gateway.process.kill()
        gateway.process.wait()
        until(lambda: not any(map(is_alive, workers.values())))


def test_workers_are_refused_on_a_port_that_is_taken(stores: Stores, tmp_path: Path) -> None:
    """They would else share it with whoever listens there."""
    (tmp_path / "other").mkdir()
    with (
        served(stores, tmp_path) as first,
        served(
            stores, tmp_path / "other", is_awaited=False, GATEWAY_WORKERS="2", GATEWAY_PORT=str(first.port)
        ) as second,
    ):
        assert second.process.wait(60) == 2
        assert "GATEWAY_PORT" in second.lines()[-1]["reason"]


def test_worker_that_cannot_start_ends_all(stores: Stores, tmp_path: Path) -> None:
    """A setting that only a worker can judge ends the supervisor with status 2, and the reason is in the log."""
    stores.prefix = "zz"
    settings = {"GATEWAY_REDIS_URL": "redis://127.0.0.1:1/0", "GATEWAY_WORKERS": "2", "GATEWAY_PORT": str(free_port())}
    with served(stores, tmp_path, is_awaited=False, **settings) as gateway:
        assert gateway.process.wait(60) == 2
        reasons = [line["reason"] for line in gateway.lines() if line["event"] == "start_refused"]
    assert any("Redis can not be used" in reason for reason in reasons)


def test_reload_that_one_worker_was_asked_for_reaches_all(stores: Stores, tmp_path: Path) -> None:
    """The policy of every worker is the new one, whichever answers."""
    config = tmp_path / "own.toml"
    config.write_text("[tiers.cart]\nttl_seconds = 300\n")
    with supervised(stores, tmp_path, GATEWAY_CONFIG=str(config)) as gateway:
        put(gateway, "tee", 100)
        config.write_text("[tiers.cart]\nttl_seconds = 111\n")
        status, _ = gateway.request("POST", "/v1/admin/reload", {})
        assert status == 200

        def is_everywhere() -> bool:
            told = [gateway.request("GET", "/v1/admin/policy")[1] for _ in range(20)]
            return all(one["tiers"]["cart"]["ttl_seconds"] == 111 for one in told)

        until(is_everywhere)


def scrape(gateway: Served) -> dict[tuple[str, str], float]:
    """The value of each series of one scrape, by name and worker; labels besides are summed over."""
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found: Counter[tuple[str, str]] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, sample.labels["worker"]] += sample.value
    return dict(found)


def scraped(gateway: Served) -> dict[tuple[str, str], float]:
    """A scrape with each worker in it. One that a busy machine kept for too long is left out, which is told, and not the next time."""
    while True:
        late_before = [line["event"] for line in gateway.lines()].count("worker_not_scraped")
        found = scrape(gateway)
        if {worker for _, worker in found} >= {"web-1", "web-2", "work"}:
            return found
        late = [line["event"] for line in gateway.lines()].count("worker_not_scraped")
        assert late > late_before, f"without a word only {sorted(found)}"


def requests_answered(told: dict[tuple[str, str], float]) -> float:
    """By both web workers."""
    return sum(told["gateway_requests_total", name] for name in ("web-1", "web-2"))


def test_scrape_of_any_worker_tells_all(stores: Stores, tmp_path: Path) -> None:
    """Every scrape has each worker's own series; one that was killed begins again at zero and is there again."""
    with supervised(stores, tmp_path) as gateway:
        put(gateway, "tee", 100)
        for number in range(40):
            assert reserve(gateway, "tee", f"key-{number}") == 201
        until(lambda: requests_answered(scraped(gateway)) >= 41)  # a request is counted when its answer has left
        scrapes = [scraped(gateway) for _ in range(5)]
        first = pids(gateway)
        os.kill(first["web-1"], signal.SIGKILL)
        until(lambda: pids(gateway)["web-1"] != first["web-1"])
        until(lambda: ("gateway_requests_total", "web-1") in scrape(gateway))

    for told in scrapes:
        assert requests_answered(told) >= 41
        assert told["gateway_reservations_total", "work"] == 40
        assert told.get(("gateway_reservations_total", "web-1"), 0) == 0


def test_readiness_tells_when_nothing_is_committed(stores: Stores, tmp_path: Path) -> None:
    """While the working process is frozen the others are not ready; afterwards they are."""
    with supervised(stores, tmp_path) as gateway:
        put(gateway, "tee", 100)
        work = pids(gateway)["work"]
        os.kill(work, signal.SIGSTOP)
        try:
            assert reserve(gateway, "tee", "key-1", "memory") == 201
            # Each worker finds out by itself, and any of them may answer.
            until(lambda: "does a `work` process run?" in flusher_problem(gateway), STALLED_S + 60)
            until(lambda: not any(is_ready(gateway) for _ in range(8)))
        finally:
            os.kill(work, signal.SIGCONT)
        until(lambda: all(is_ready(gateway) for _ in range(8)))
        gateway.end()


async def test_private_stores_may_be_shared_by_workers(tmp_path: Path) -> None:
    """With no address at all the supervisor's private Redis and SQLite file serve all workers, and end with it."""
    port = str(free_port())
    settings = {"GATEWAY_REDIS_URL": "", "GATEWAY_DATABASE_URL": "", "GATEWAY_DATA_DIR": str(tmp_path / "data")}
    nowhere = Stores("", "")
    with served(nowhere, tmp_path, is_awaited=False, GATEWAY_WORKERS="2", GATEWAY_PORT=port, **settings) as gateway:
        gateway.port = int(port)
        await asyncio.to_thread(gateway.wait_for, "workers_serve")
        put(gateway, "tee", 30)
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda number: reserve(gateway, "tee", f"key-{number}"), range(40)))
        assert (statuses.count(201), statuses.count(409)) == (30, 10)
        gateway.end()
