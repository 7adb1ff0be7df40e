"""Persistence: nothing that was answered is lost by a stop, a kill, or the loss of the private Redis' files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.answers import Answer, instant_ms
from tests.acceptance.client import Client, stock_path
from tests.acceptance.conftest import redis_server
from tests.acceptance.folders import lose_redis
from tests.acceptance.gateways import Gateway
from tests.acceptance.patience import until

ClientOf = Callable[[Gateway], Client]
SECONDS = 8


class Scene:
    """A shop with a bit of everything, and what was answered about it."""

    def __init__(self) -> None:
        self.levels: dict[str, Any] = {}
        self.reservations: dict[str, Any] = {}
        self.keyed: Answer
        self.short: dict[str, Any] = {}

    async def make(self, api: Client) -> None:
        """Reservations in every state, sources with sequences, a deduction, a pause, keys of both operations."""
        await api.put_level("A", source="erp", sequence=7, on_hand=50, safety_stock=2)
        await api.put_level("A", source="wms", sequence=9, deduction=3)
        await api.stock_up("A", 5, "paris")
        await api.stock_up("é/😀", 5)
        await api.post(f"{stock_path('é/😀')}/pause", {"reason": "recall"})
        made = {}
        for state, moves in {"held": [], "confirmed": ["confirm"], "released": ["release"]}.items():
            made[state] = await api.hold("A", 2, reference=state, customer="c", ack="durable")
            for move in moves:
                made[state] = await api.done(move, made[state]["id"])
        fulfilled = await api.hold("A", 1, ack="durable")
        made["fulfilled"] = await api.done("confirm", fulfilled["id"], {"fulfil": True})
        self.keyed = await api.reserve(("A", 3), ("A", 1, "paris"), tier="order", key="k", ack="durable")
        assert self.keyed.status == 201
        made["keyed"] = self.keyed.body
        await api.adjust("A", 5, "k")
        self.short = await api.hold("A", 4, ttl_seconds=SECONDS, ack="durable")
        self.reservations = {body["id"]: body for body in made.values()}
        for sku in ("A", "é/😀"):
            self.levels[sku] = await api.stock(sku)

    async def seen_together(self, api: Client) -> tuple[Any, dict[str, Any]]:
        """The short hold and the levels as they were at one moment: its deadline does not lie between them."""
        while True:
            before = await api.reservation(self.short["id"])
            levels = {sku: await api.stock(sku) for sku in self.levels}
            if (await api.reservation(self.short["id"]))["state"] == before["state"]:
                return before, levels

    async def check(self, api: Client) -> None:
        """All is as it was answered, counters, sequences, deadlines and keys; with the short hold alive or expired."""
        for reservation_id, body in self.reservations.items():
            found = await api.reservation(reservation_id)
            assert without_worth(found) == without_worth(body)
        short, levels = await self.seen_together(api)
        for sku, before in self.levels.items():
            now = levels[sku]
            gone = 4 if sku == "A" and short["state"] == "expired" else 0
            assert (now["paused"], now["held"]) == (before["paused"], before["held"] - gone)
            for level, old in zip(now["locations"], before["locations"], strict=True):
                steady = ("location", "on_hand", "committed", "deductions", "safety_stock", "sequences")
                assert [level[name] for name in steady] == [old[name] for name in steady]
        again = await api.reserve(("A", 3), ("A", 1, "paris"), tier="order", key="k")
        assert (again.status, again.is_replayed, again.body["id"]) == (201, True, self.keyed.body["id"])
        assert (await api.adjust("A", 5, "k")).is_replayed
        assert (await api.reserve(("A", 4), key="k")).outcome == (422, "idempotency_key_reused")
        stale = await api.put_level("A", source="erp", sequence=6, on_hand=1)
        assert (stale.outcome, stale.body["current_sequence"]) == ((409, "stale_sequence"), 7)
        same = await api.put_level("A", source="wms", sequence=9, deduction=3)
        assert (same.status, same.body["applied"]) == (200, False)
        assert (await api.reserve(("é/😀", 1))).body["shortages"][0]["reason"] == "paused"
        assert (await api.get("/v1/admin/conservation")).body["violations"] == []


def without_worth(reservation: dict[str, Any]) -> dict[str, Any]:
    """What must never change: a reservation without what says how fresh it is."""
    return {k: v for k, v in reservation.items() if k not in {"durable", "position", "reacquired"}}


@pytest.fixture(params=["embedded", "given"])
def lasting(request: pytest.FixtureRequest, new_gateway: Callable[..., Gateway], short_path: Path) -> Iterator[Gateway]:
    """A gateway on its own folder, or on a Redis and a PostgreSQL that outlive it."""
    with ExitStack() as stack:
        running = new_gateway()
        if request.param == "given":
            redis = stack.enter_context(redis_server(short_path / "given-redis"))
            running.settings["GATEWAY_REDIS_URL"] = redis.url
            running.settings["GATEWAY_DATABASE_URL"] = request.getfixturevalue("postgres_url")
        running.start()
        yield running
        running.close()


async def test_everything_answered_survives_stop_kill_and_loss_of_redis(lasting: Gateway, client_of: ClientOf) -> None:
    """SIGTERM, kill -9, and (embedded) Redis' files gone while it was down: each time all is as before.

    The short hold keeps its deadline through all of it, and its units are free afterwards.
    """
    scene = Scene()
    await scene.make(client_of(lasting))

    lasting.restart()
    await scene.check(client_of(lasting))
    lasting.kill()
    lasting.start()
    await scene.check(client_of(lasting))
    if "GATEWAY_REDIS_URL" not in lasting.settings:
        assert lasting.stop() == 0
        lose_redis(lasting.data_dir)
        lasting.start()
        await scene.check(client_of(lasting))
    api = client_of(lasting)
    ended = await api.expired(scene.short["id"])
    assert instant_ms(ended["ended_at"]) >= instant_ms(scene.short["expires_at"])
    await scene.check(api)


async def test_life_goes_on_with_what_was_held_before_redis_was_lost(
    new_gateway: Callable[..., Gateway], client_of: ClientOf
) -> None:
    """After the loss: a hold is extended, confirmed, fulfilled, released; an expired one is reacquired; no oversell."""
    running = new_gateway()
    running.start()
    api = client_of(running)
    await api.stock_up("A", 10)
    await api.stock_up("B", 3)
    holds = [await api.hold("A", 2, ack="durable") for _ in range(4)]
    gone = await api.hold("B", 3, ttl_seconds=1, ack="durable")
    await api.done("confirm", holds[1]["id"])
    await api.stock_up("C", 9)
    await api.stock_up("D", 9)
    settled = (await api.reserve(("C", 2), ("D", 3), key="k", ack="durable")).body
    await api.done("confirm", settled["id"])
    await api.put_level("C", source="wms", sequence=1, on_hand=7, reflects=[settled["id"]])
    assert running.stop() == 0
    lose_redis(running.data_dir)
    await asyncio.sleep(1)
    running.start()
    api = client_of(running)

    await check_cold_batch(api, settled["id"])
    assert (await api.reserve(("A", 3))).body["shortages"][0]["available"] == 2
    await check_race(api, "A", 2)
    extended = await api.done("extend", holds[0]["id"])
    confirmed = await api.done("confirm", holds[2]["id"])
    fulfilled = await api.done("fulfil", holds[1]["id"])
    released = await api.done("release", holds[3]["id"])
    late = await api.act("confirm", gone["id"])
    again = await api.act("confirm", gone["id"], {"if_expired": "reacquire"})

    states = [body["state"] for body in (extended, confirmed, fulfilled, released)]
    assert states == ["held", "confirmed", "fulfilled", "released"]
    assert late.outcome == (409, "reservation_expired")
    assert (again.status, again.body["reacquired"]) == (200, True)
    assert await api.counters("A") == (8, 2, 2, 4)
    assert await api.counters("B") == (3, 0, 3, 0)
    assert (await api.get("/v1/admin/conservation")).body["violations"] == []


async def check_cold_batch(api: Client, settled: str) -> None:
    """One batch on levels, a reservation and a key that Redis does not have yet keeps its order.

    Of the reservation, C was settled by a count before Redis was lost: fulfil takes D alone.
    """
    one = {"op": "reserve", "body": {"lines": [{"sku": "C", "quantity": 7}]}}
    same = {"lines": [{"sku": "C", "quantity": 2}, {"sku": "D", "quantity": 3}]}

    results = await api.batch(
        one,
        one,
        {"op": "fulfil", "id": settled},
        {"op": "reserve", "idempotency_key": "k", "body": same},
        {"op": "release", "id": settled},
        {"op": "reserve", "body": {"lines": [{"sku": "D", "quantity": 7}]}},
    )

    assert [result["status"] for result in results] == [201, 409, 200, 201, 409, 409]
    replay = results[3]
    assert (replay["replayed"], replay["body"]["id"], replay["body"]["state"]) == (True, settled, "fulfilled")
    assert [await api.counters(sku) for sku in "CD"] == [(7, 7, 0, 0), (6, 0, 0, 6)]


async def check_race(api: Client, sku: str, units: int) -> None:
    """Sixty buyers at once for what is available of a level that Redis has to load first; all give it back."""
    answers = await asyncio.gather(*[api.reserve((sku, 1)) for _ in range(60)])
    won = [answer.body["id"] for answer in answers if answer.status == 201]
    assert len(won) == units
    assert {answer.code for answer in answers if answer.status != 201} == {"out_of_stock"}
    await asyncio.gather(*[api.done("release", one) for one in won])


async def test_kill_in_the_middle_of_work_loses_no_answer(
    new_gateway: Callable[..., Gateway], client_of: ClientOf
) -> None:
    """kill -9 under load: every durable answer is true afterwards, and no unit is lost or sold twice."""
    running = new_gateway()
    running.start()
    api = client_of(running)
    await api.stock_up("A", 100_000)
    held: set[str] = set()
    confirmed: set[str] = set()

    async def buyer() -> None:
        try:
            while True:
                body = await api.hold("A", ack="durable")
                held.add(body["id"])
                await api.done("confirm", body["id"])
                confirmed.add(body["id"])
        except aiohttp.ClientConnectionError:
            return

    buyers = [asyncio.create_task(buyer()) for _ in range(20)]
    async with asyncio.timeout(30):
        while len(confirmed) < 50:  # noqa: ASYNC110 - buyers only add
            await asyncio.sleep(0.01)
    running.kill()
    await asyncio.gather(*buyers)
    running.start()
    api = client_of(running)

    assert confirmed
    states = {one: (await api.reservation(one))["state"] for one in held}
    assert {states[one] for one in confirmed} == {"confirmed"}
    level = await api.level("A")
    in_flight = 20
    assert len(confirmed) <= level["committed"] <= len(confirmed) + in_flight
    assert level["held"] + level["committed"] <= len(held) + in_flight
    assert (await api.get("/v1/admin/conservation")).body["violations"] == []


async def test_import_cut_by_a_kill_is_finished_by_repeating_it(
    new_gateway: Callable[..., Gateway], client_of: ClientOf
) -> None:
    """kill -9 in the middle of the rows: the same file again applies the rest, and no row counts as stale."""
    running = new_gateway()
    running.start()
    api = client_of(running)
    rows = [f"S{number},main,{number}\n".encode() for number in range(3000)]

    async def cut() -> AsyncIterator[bytes]:
        yield b"sku,location,on_hand\n" + b"".join(rows[:2000])
        await asyncio.sleep(0.3)
        running.kill()
        yield b"".join(rows[2000:])

    url = f"{running.address}/v1/stock/import?source=erp&sequence=1&shop={api.shop}"
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.session.post(url, data=cut(), headers={"Content-Type": "text/csv"})
    running.start()
    api = client_of(running)
    answer = await api.post(
        "/v1/stock/import",
        raw=b"sku,location,on_hand\n" + b"".join(rows),
        content_type="text/csv",
        source="erp",
        sequence=1,
    )

    told = answer.body
    assert (told["applied"] + told["unchanged"], told["stale"], told["rejected"]) == (3000, 0, [])
    assert told["applied"] >= 1000
    assert (await api.stock("S2999"))["on_hand"] == 2999
    assert (await api.get("/v1/admin/conservation")).body["violations"] == []


async def test_settled_work_leaves_redis_and_is_still_answered(
    new_gateway: Callable[..., Gateway], client_of: ClientOf, valkey_url: str
) -> None:
    """With short key lives Redis is back to its empty size, and levels, reservations and late moves still work.

    Only the key of an order that is not at its end stays. `retention.seconds` after the end a key is forgotten and
    an expired reservation can no longer be reacquired.
    """
    import redis

    running = new_gateway(
        GATEWAY_REDIS_URL=valkey_url,
        GATEWAY_HOT__IDLE_TTL_SECONDS="5",
        GATEWAY_HOT__ENDED_TTL_SECONDS="5",
        GATEWAY_RETENTION__SECONDS="5",
    )
    running.start()
    api = client_of(running)
    with redis.Redis.from_url(valkey_url) as client:
        empty = client.dbsize()
        await api.stock_up("A", 9)
        confirmed = (await api.reserve(("A", 2), key="open")).body
        confirmed = await api.done("confirm", confirmed["id"])
        released = (await api.reserve(("A", 1), key="ended")).body
        await api.done("release", released["id"])
        expired = await api.hold("A", ttl_seconds=1)
        assert (await api.reserve(("A", 1), key="ended")).is_replayed
        assert client.dbsize() > empty + 1

        async def is_settled() -> bool:
            return bool(client.dbsize() <= empty + 1)

        await until(is_settled)

    await check_race(api, "A", 7)
    assert await api.counters("A") == (9, 0, 2, 7)
    assert without_worth(await api.reservation(confirmed["id"])) == without_worth(confirmed)
    assert (await api.reservation(released["id"]))["state"] == "released"
    late = await api.act("confirm", expired["id"], {"if_expired": "reacquire"})
    assert late.outcome == (409, "reservation_expired")
    replayed = await api.reserve(("A", 2), key="open")
    assert (replayed.is_replayed, replayed.body["id"]) == (True, confirmed["id"])
    forgotten = await api.reserve(("A", 1), key="ended")
    assert (forgotten.is_replayed, forgotten.body["id"] != released["id"]) == (False, True)
    assert (await api.done("fulfil", confirmed["id"]))["state"] == "fulfilled"
    assert await api.counters("A") == (7, 1, 0, 6)
    assert (await api.get("/v1/admin/conservation")).body["violations"] == []
