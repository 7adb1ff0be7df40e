"""The application as a whole: under other runners, and its life cycle under ours."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.web.application import GatewayRunner, build_application
from gateway.web.site import Services
from tests.web.fakes import POLICY, Books, FakeOperations, FakeReservations, FakeStock


def build() -> tuple[web.Application, Books]:
    """An application over fake services."""
    books = Books()
    services = Services(FakeReservations(books), FakeStock(books), FakeOperations(books))
    return build_application(services, lambda: POLICY), books


async def test_application_answers_under_aiohttps_own_runner() -> None:
    """Any server of aiohttp applications can serve it: all that is ours alone is how broken HTTP is told."""
    application, books = build()
    books.put("a", on_hand=3)

    async with TestClient(TestServer(application)) as client:
        held = await client.post("/v1/reservations", json={"lines": [{"sku": "a", "quantity": 1}]})
        read = await client.get(held.headers["Location"])
        nowhere = await client.get("/v1/nowhere")
        wrong = await client.delete("/v1/stock/a")

        assert [held.status, read.status, nowhere.status, wrong.status] == [201, 200, 404, 405]
        assert (await read.json())["id"] == (await held.json())["id"]
        assert (await wrong.json())["code"] == "method_not_allowed"


async def test_runner_keeps_the_applications_life_cycle() -> None:
    """What is hung on start-up, shutdown and clean-up runs, in this order."""
    application, _ = build()
    told: list[str] = []

    async def remember(word: str) -> None:
        told.append(word)

    application.on_startup.append(lambda _app: remember("startup"))
    application.on_shutdown.append(lambda _app: remember("shutdown"))
    application.on_cleanup.append(lambda _app: remember("cleanup"))
    runner = GatewayRunner(application)

    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await runner.cleanup()

    assert told == ["startup", "shutdown", "cleanup"]
