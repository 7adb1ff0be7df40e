"""`ack`: what an answer waits for, and what it says when the durable store does not come in time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.acceptance.client import Client
from tests.acceptance.folders import lose_redis
from tests.acceptance.gateways import Gateway
from tests.acceptance.patience import answered

ClientOf = Callable[[Gateway], Client]


async def test_reserve_with_ack_durable_is_committed(api: Client) -> None:
    """`durable: true` is said only after the commit; without the parameter a reserve answers from memory."""
    await api.stock_up("A", 5)

    durable = await api.reserve(("A", 1), ack="durable")
    memory = await api.reserve(("A", 1), ack="memory")

    assert durable.body["durable"] is True
    assert memory.status == 201


@pytest.mark.parametrize("operation", ["extend", "confirm", "fulfil", "release", "delete"])
async def test_operations_are_durable_by_default_and_take_ack_memory(api: Client, operation: str) -> None:
    """All but reserve wait for the commit unless they are told otherwise; both kinds are applied."""
    await api.stock_up("A", 5)
    first, second = await api.hold("A"), await api.hold("A")
    if operation == "fulfil":
        await asyncio.gather(api.done("confirm", first["id"]), api.done("confirm", second["id"]))

    by_default = await api.act(operation, first["id"])
    in_memory = await api.act(operation, second["id"], ack="memory")

    assert by_default.body["durable"] is True
    assert (in_memory.status, in_memory.body["state"]) == (200, by_default.body["state"])


async def test_stock_writes_are_durable_by_default_and_take_ack_memory(api: Client) -> None:
    """PUT, adjust, pause and resume: 200 in both modes."""
    path = "/v1/stock/A"
    put = {"source": "erp", "on_hand": 5}
    change = {"delta": 1, "reason": "count"}

    for ack, sequence in (("durable", 1), ("memory", 2), (None, 3)):
        answers = [
            await api.call("PUT", f"{path}/main", put | {"sequence": sequence}, ack=ack),
            await api.post(f"{path}/main/adjust", change, key=f"k{sequence}", ack=ack),
            await api.post(f"{path}/pause", ack=ack),
            await api.post(f"{path}/resume", ack=ack),
        ]
        assert [answer.status for answer in answers] == [200] * 4, ack
        if ack != "memory":
            assert [answer.body.get("durable") for answer in answers] == [True] * 4, ack


@pytest.mark.parametrize("ack", ["", "DURABLE", "disk", "true"])
async def test_unknown_ack_is_refused(api: Client, ack: str) -> None:
    """422 on every call that takes it, nothing applied."""
    await api.stock_up("A", 5)

    answer = await api.reserve(("A", 1), ack=ack)

    assert answer.outcome == (422, "invalid_request")
    assert await api.counters("A") == (5, 0, 0, 5)


async def test_ack_durable_of_a_batch_is_kept_by_each_of_its_results(api: Client) -> None:
    """The parameter applies to every operation, and what it asks for is true of every result."""
    await api.stock_up("A", 5)
    held = await api.hold("A")

    results = await api.batch(
        {"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 1}]}},
        {"op": "confirm", "id": held["id"]},
        ack="durable",
    )

    assert [result["body"]["durable"] for result in results] == [True, True]


async def test_batch_without_ack_keeps_the_default_of_each_operation(api: Client) -> None:
    """A confirm in a batch is durable before it is answered."""
    await api.stock_up("A", 5)
    held = await api.hold("A")

    result = (await api.batch({"op": "confirm", "id": held["id"]}))[0]

    assert result["body"]["durable"] is True


class LockedSqlite:
    """A SQLite file that can be made to answer nobody's commit."""

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("sqlite:///")

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Nobody else can commit meanwhile."""
        with closing(sqlite3.connect(self._path, timeout=10, isolation_level=None)) as connected:
            connected.execute("BEGIN IMMEDIATE")
            yield
            connected.execute("ROLLBACK")

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What another program reads beside the service."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connected:
            return [tuple(row) for row in connected.execute(query)]

    async def tamper(self, statement: str) -> None:
        """Another program has written what it never may."""
        with closing(sqlite3.connect(self._path, timeout=10)) as connected, connected:
            connected.execute(statement)


class LockedPostgres:
    """The same for a PostgreSQL database."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """The levels can be read and not written."""
        connected = await asyncpg.connect(self._url)
        try:
            async with connected.transaction():
                await connected.execute("LOCK TABLE levels IN SHARE MODE")
                yield
        finally:
            await connected.close()

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What another program reads beside the service."""
        connected = await asyncpg.connect(self._url)
        try:
            return [tuple(row) for row in await connected.fetch(query)]
        finally:
            await connected.close()

    async def tamper(self, statement: str) -> None:
        """Another program has written what it never may."""
        connected = await asyncpg.connect(self._url)
        try:
            await connected.execute(statement)
        finally:
            await connected.close()


Stalling = tuple[Client, LockedSqlite | LockedPostgres, Gateway]


async def held_for_good(api: Client) -> dict[str, Any]:
    """Of 9 units of `A` one is held, in the durable store. Asked again where a commit took longer than the 300 ms."""
    level = {"source": "setup", "sequence": 1, "on_hand": 9}
    assert (await answered(lambda: api.put_level("A", **level))).status == 200
    held = await answered(lambda: api.reserve(("A", 1), key="setup", ack="durable"))
    assert (held.status, held.body["durable"]) == (201, True)
    return dict(held.body)


async def started(running: Gateway, url: str, client_of: ClientOf) -> Client:
    """The gateway serves on this database and waits 300 ms for a commit."""
    running.settings["GATEWAY_ACK__TIMEOUT_MS"] = "300"
    running.settings["GATEWAY_DATABASE_URL"] = url
    running.start()
    return client_of(running)


@pytest.fixture
async def stalling(new_gateway: Callable[..., Gateway], client_of: ClientOf, short_path: Path) -> Stalling:
    """A gateway on a SQLite file that the test can lock."""
    running, url = new_gateway(), f"sqlite:///{short_path / 'stock.db'}"
    return await started(running, url, client_of), LockedSqlite(url), running


@pytest.fixture
async def stalling_postgres(postgres_url: str, new_gateway: Callable[..., Gateway], client_of: ClientOf) -> Stalling:
    """The same on PostgreSQL."""
    running = new_gateway()
    return await started(running, postgres_url, client_of), LockedPostgres(postgres_url), running


async def check_unknown_commit(api: Client, database: LockedSqlite | LockedPostgres) -> None:
    """Every kind of call while no commit comes, and the same calls after."""
    held = await held_for_good(api)

    async with database.locked():
        reserved = await api.reserve(("A", 2), ack="durable")
        confirmed = await api.act("confirm", held["id"])
        confirmed_again = await api.act("confirm", held["id"])
        keyed = await api.reserve(("A", 1), key="k", ack="durable")
        keyed_again = await api.reserve(("A", 1), key="k", ack="durable")
        from_memory = await api.reserve(("A", 1), ack="memory")
        seen = await api.reservation(reserved.body["id"])
    after = (await answered(lambda: api.act("confirm", held["id"]))).body
    keyed_after = await answered(lambda: api.reserve(("A", 1), key="k", ack="durable"))

    unknown = (503, "durability_unknown")
    assert [reserved.outcome, confirmed.outcome, confirmed_again.outcome] == [unknown] * 3
    assert [keyed.outcome, keyed_again.outcome] == [unknown] * 2
    assert confirmed.body["id"] == confirmed_again.body["id"] == held["id"]
    assert keyed.body["id"] == keyed_again.body["id"] == keyed_after.body["id"]
    assert (seen["state"], seen["durable"]) == ("held", False)
    assert (from_memory.status, from_memory.body["durable"]) == (201, False)
    assert (after["state"], after["durable"]) == ("confirmed", True)
    assert (keyed_after.is_replayed, keyed_after.body["durable"]) == (True, True)
    assert await api.counters("A") == (9, 4, 1, 4)
    rows = await database.rows("SELECT shop, sku, location, on_hand, held, committed FROM levels")
    assert rows == [(api.shop, "A", "main", 9, 4, 1)]
    assert (await api.get("/v1/admin/conservation")).body["violations"] == []
    await database.tamper("UPDATE levels SET held = held + 1")
    assert (await api.get("/v1/admin/conservation")).body["violations"], "a unit more in the table was not noticed"


async def test_commit_that_does_not_come_is_told_as_unknown(stalling: Stalling) -> None:
    """503 `durability_unknown` with the id; applied; repeating is safe; memory goes on; then the table says it too."""
    api, database, _ = stalling

    await check_unknown_commit(api, database)


async def test_commit_that_does_not_come_from_postgres_is_told_as_unknown(stalling_postgres: Stalling) -> None:
    """The same where the durable store is PostgreSQL, whose table somebody has locked."""
    api, database, _ = stalling_postgres

    await check_unknown_commit(api, database)


async def test_batch_whose_commit_does_not_come_tells_each_result(stalling: Stalling) -> None:
    """Waited for once, at the end: what only asked for memory is granted, what asked for more is unknown."""
    api, database, _ = stalling
    held = await held_for_good(api)

    async with database.locked():
        results = await api.batch(
            {"op": "reserve", "body": {"lines": [{"sku": "A", "quantity": 1}]}},
            {"op": "confirm", "id": held["id"]},
            {"op": "confirm", "id": "rsv_nonsense"},
        )

    assert [(r["status"], r["body"].get("code")) for r in results] == [
        (201, None),
        (503, "durability_unknown"),
        (404, "reservation_not_found"),
    ]
    assert results[1]["body"]["id"] == held["id"]


async def test_hold_lost_with_redis_before_its_commit_is_told_as_lost(stalling: Stalling, client_of: ClientOf) -> None:
    """`durable: false`, then Redis and the gateway die and Redis' files are lost: 410, not 404, not alive; 404 stays 404."""
    api, database, running = stalling
    safe = await held_for_good(api)
    async with database.locked():
        lost = await api.hold("A", 2)
        unknown = await api.reserve(("A", 3), key="k", ack="durable")
        assert lost["durable"] is False
        running.kill()
    await asyncio.to_thread(lose_redis, running.data_dir)
    running.start()
    api = client_of(running)

    read = await api.get(f"/v1/reservations/{lost['id']}")
    confirmed = await api.act("confirm", lost["id"])
    batched: list[dict[str, Any]] = await api.batch({"op": "extend", "id": lost["id"]})

    assert read.outcome == confirmed.outcome == (410, "reservation_lost")
    assert (batched[0]["status"], batched[0]["body"]["code"]) == (410, "reservation_lost")
    assert (await api.reservation(safe["id"]))["state"] == "held"
    assert await api.counters("A") == (9, 1, 0, 8)
    assert unknown.outcome == (503, "durability_unknown")
    assert (await api.get(f"/v1/reservations/{unknown.body['id']}")).outcome == (410, "reservation_lost")
    repeated = await answered(lambda: api.reserve(("A", 3), key="k", ack="durable"))
    assert (repeated.status, repeated.body["durable"]) == (201, True)
    assert await api.counters("A") == (9, 4, 0, 5)
    similar = safe["id"][:-1] + ("A" if safe["id"][-1] != "A" else "B")
    assert (await api.get(f"/v1/reservations/{similar}")).outcome == (404, "reservation_not_found")
