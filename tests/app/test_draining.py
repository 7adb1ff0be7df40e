"""The end of the process: what was answered is kept, what was in flight is answered, and it is over within ten seconds."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.app.serving import Served, served
from tests.contract.sql import run_sql
from tests.service.gateway import running
from tests.service.stores import Stores

BUYERS = 4


class Buyer(threading.Thread):
    """Holds one unit after the other on one connection until the gateway does not answer any more."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.held = 0
        self.other: list[int] = []
        self.unanswered = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        body, headers = json.dumps({"lines": [{"sku": "tee", "quantity": 1}]}), {"Content-Type": "application/json"}
        try:
            while True:
                connection.request("POST", "/v1/reservations", body, headers)
                try:
                    answer = connection.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException):
                    self.unanswered += 1
                    return
                self.held += answer.status == 201
                if answer.status != 201:
                    self.other.append(answer.status)
        except OSError:
            return  # it could not even be asked
        finally:
            connection.close()


def put(gateway: Served, on_hand: int) -> None:
    """There is stock, committed; what a busy machine does not see committed in time is told again."""
    count = {"source": "erp", "sequence": 1, "on_hand": on_hand}
    for _ in range(20):
        status, told = gateway.request("PUT", "/v1/stock/tee/main", count)
        if status != 503:
            break
    assert (status, told.get("durable")) == (200, True), told


def buyers_at_work(gateway: Served) -> list[Buyer]:
    """They hold units as fast as they are answered, and have some hundreds."""
    buyers = [Buyer(gateway.port) for _ in range(BUYERS)]
    for buyer in buyers:
        buyer.start()
    while sum(buyer.held for buyer in buyers) < 200:
        assert all(buyer.is_alive() for buyer in buyers)
        buyers[0].join(0.01)
    return buyers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_draining_under_load_loses_no_answer(stores: Stores, tmp_path: Path, number: signal.Signals) -> None:
    """With buyers at work the process ends with status 0 in time, and each hold it answered is in the durable store."""
    with served(stores, tmp_path) as gateway:
        put(gateway, 1_000_000)
        buyers = buyers_at_work(gateway)
        gateway.end(number)
        for buyer in buyers:
            buyer.join()
        assert {line["event"] for line in gateway.lines()} >= {"draining", "ended"}
    held = sum(buyer.held for buyer in buyers)
    assert [buyer.other for buyer in buyers] == [[]] * BUYERS
    ((stored,),) = asyncio.run(run_sql(stores.database_url, "SELECT count(*) FROM reservations"))
    assert held <= stored <= held + sum(buyer.unanswered for buyer in buyers)
    ((of_level,),) = asyncio.run(run_sql(stores.database_url, "SELECT held FROM levels"))
    assert of_level == stored


def test_draining_with_a_durable_store_that_stands_still(stores: Stores, tmp_path: Path) -> None:
    """Who waits for a commit that does not come is told so, the process ends in time, and the next one finds all in the log."""
    answers: list[tuple[int, str]] = []
    with served(stores, tmp_path, GATEWAY_ACK__TIMEOUT_MS="500") as gateway:
        put(gateway, 10)
        with closing(sqlite3.connect(stores.database_url.removeprefix("sqlite:///"), isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")

            def buy() -> None:
                status, told = gateway.request(
                    "POST", "/v1/reservations?ack=durable", {"lines": [{"sku": "tee", "quantity": 3}]}
                )
                answers.append((status, told["code"]))

            buyer = threading.Thread(target=buy)
            buyer.start()
            while gateway.request("GET", "/v1/stock/tee")[1]["held"] != 3:
                buyer.join(0.01)
            gateway.end()
            buyer.join()
            blocker.execute("ROLLBACK")
    assert answers == [(503, "durability_unknown")]
    asyncio.run(holds_after_start(stores, 3))


async def holds_after_start(stores: Stores, held: int) -> None:
    """A gateway that starts on these stores knows of so many units held, and commits them."""
    async with running(stores, is_flushing=False) as gateway:
        assert (await gateway.level("tee")).held == held
        await gateway.flush()
        assert await gateway.violations() == []


def test_draining_when_another_gateway_took_the_shard(stores: Stores, tmp_path: Path) -> None:
    """A gateway whose epoch is over, with changes in the log, ends as any other: what it could not commit stays for the next."""
    with served(stores, tmp_path) as gateway:
        put(gateway, 10)
        # The epoch is raised in a transaction that was there first: nothing of the hold is committed before.
        with closing(sqlite3.connect(stores.database_url.removeprefix("sqlite:///"), isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            status, _ = gateway.request("POST", "/v1/reservations", {"lines": [{"sku": "tee", "quantity": 3}]})
            another.execute(
                "UPDATE shards SET epoch = 2, state = 'recovering', owner = 'another', owner_deadline_ms = 9999999999999"
            )
            another.execute("COMMIT")
        assert status == 201
        gateway.end()
    asyncio.run(run_sql(stores.database_url, "UPDATE shards SET owner_deadline_ms = 1"))
    asyncio.run(holds_after_start(stores, 3))


def test_draining_before_it_could_serve(stores: Stores, tmp_path: Path) -> None:
    """A gateway that waits for another one to open the shard ends when it is told to, not when the wait is over."""
    asyncio.run(served_once(stores))
    asyncio.run(
        run_sql(
            stores.database_url,
            "UPDATE shards SET state = 'recovering', owner = 'another', owner_deadline_ms = 9999999999999",
        )
    )
    with served(stores, tmp_path, is_awaited=False) as gateway:
        gateway.wait_for("redis_posture")
        gateway.process.poll()
        assert gateway.end(signal.SIGINT) < 10


async def served_once(stores: Stores) -> None:
    """A gateway has worked on these stores."""
    async with running(stores):
        pass


def test_draining_after_a_kill_the_next_start_serves_what_was_answered(stores: Stores, tmp_path: Path) -> None:
    """After kill -9 in the middle of sales the next process serves each hold that was answered, from Redis and the log."""
    with served(stores, tmp_path) as gateway:
        put(gateway, 1_000_000)
        buyers = buyers_at_work(gateway)
        gateway.process.kill()
        for buyer in buyers:
            buyer.join()
    answered, open_calls = sum(buyer.held for buyer in buyers), sum(buyer.unanswered for buyer in buyers)
    asyncio.run(holds_between(stores, answered, answered + open_calls))


async def holds_between(stores: Stores, least: int, most: int) -> None:
    """A gateway that starts on these stores knows of so many units held, all books agree, and its epoch is the same."""
    async with running(stores, is_flushing=False) as gateway:
        assert gateway.shard.epoch == 1
        assert least <= (await gateway.level("tee")).held <= most
        await gateway.flush()
        assert await gateway.violations() == []
