"""Policies that change while the gateway runs: the whole file or nothing, for new holds only."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.answers import instant_ms
from tests.acceptance.client import Client
from tests.acceptance.gateways import Gateway
from tests.acceptance.patience import until

CART = "[tiers.cart]\nttl_seconds = {}\nttl_seconds_max = {}\nlifetime_seconds_max = {}\n"
BROKEN = {
    "no toml": "[tiers.cart\n",
    "unknown key": "[tiers.cart]\nttl = 5\n",
    "unknown section": "[tier.cart]\nttl_seconds = 5\n",
    "wrong type": '[tiers.cart]\nttl_seconds = "5"\n',
    "out of range": CART.format(0, 60, 60),
    "max below ttl": CART.format(60, 50, 100),
    "lifetime below max": CART.format(60, 100, 90),
    "half a new tier": "[tiers.gold]\nttl_seconds = 5\n",
    "retention of nothing": "[retention]\nseconds = 0\n",
    "one good and one bad": CART.format(7, 7, 7) + "[hot]\nidle_ttl_seconds = 0\n",
}


@pytest.fixture
async def configured(
    new_gateway: Callable[..., Gateway], client_of: Callable[[Gateway], Client], tmp_path: Path
) -> tuple[Client, Gateway, Path]:
    """A gateway with a file of its own, in which a cart lives 100 s."""
    path = tmp_path / "gateway.toml"
    path.write_text(CART.format(100, 200, 300))
    running = new_gateway(GATEWAY_CONFIG=str(path))
    running.start()
    return client_of(running), running, path


def ttl_of(reservation: dict[str, Any]) -> int:
    """The seconds that a hold was given."""
    return (instant_ms(reservation["expires_at"]) - instant_ms(reservation["created_at"])) // 1000


async def policy(api: Client) -> dict[str, Any]:
    """What is in force."""
    return dict((await api.get("/v1/admin/policy")).body)


async def test_changed_file_is_taken_by_call_and_by_signal_or_refused_whole(
    configured: tuple[Client, Gateway, Path],
) -> None:
    """Reload and SIGHUP change new holds only; each broken file is 422 with its errors and the old policy stays."""
    api, running, path = configured
    await api.stock_up("A", 100)
    old = await api.hold("A")
    first = await policy(api)

    path.write_text(
        CART.format(10, 20, 30) + "[tiers.gold]\nttl_seconds=500\nttl_seconds_max=600\nlifetime_seconds_max=700\n"
    )
    reloaded = await api.post("/v1/admin/reload")
    new = await api.hold("A")
    too_long = await api.reserve(("A", 1), ttl_seconds=21)
    gold = await api.hold("A", tier="gold")

    assert reloaded.status == 200
    assert (ttl_of(old), ttl_of(new), ttl_of(gold), too_long.status) == (100, 10, 500, 422)
    assert (await api.reservation(old["id"]))["expires_at"] == old["expires_at"]
    second = await policy(api)
    assert second["tiers"]["cart"]["ttl_seconds"] == 10
    assert second["version"] != first["version"]
    assert str(path) in str(second["source"]) or path.name in str(second)

    for name, text in BROKEN.items():
        path.write_text(text)
        refused = await api.post("/v1/admin/reload")
        assert refused.outcome == (422, "invalid_request"), name
        assert (await policy(api))["tiers"] == second["tiers"], name
        assert ttl_of(await api.hold("A")) == 10, name
    running.signal(signal.SIGHUP)
    await asyncio.sleep(0.3)
    assert (await policy(api))["tiers"] == second["tiers"]

    path.write_text(CART.format(50, 60, 70))
    running.signal(signal.SIGHUP)

    async def is_taken() -> bool:
        return bool((await policy(api))["tiers"]["cart"]["ttl_seconds"] == 50)

    await until(is_taken)
    assert ttl_of(await api.hold("A")) == 50
    assert (await api.reserve(("A", 1), tier="gold")).outcome == (422, "invalid_request")
    assert (await api.reservation(gold["id"]))["tier"] == "gold"
    assert (await api.act("confirm", gold["id"])).status == 200


async def test_reload_under_load_disturbs_no_buyer(configured: tuple[Client, Gateway, Path]) -> None:
    """Forty reloads between two policies: each hold has one of the two, none fails."""
    api, _, path = configured
    await api.stock_up("A", 10_000)
    texts = [CART.format(100, 200, 300), CART.format(10, 20, 30)]

    async def reloads() -> set[int]:
        for turn in range(40):
            path.write_text(texts[turn % 2])
            assert (await api.post("/v1/admin/reload")).status == 200
        return set()

    async def buyer() -> set[int]:
        return {ttl_of(await api.hold("A")) for _ in range(40)}

    seen = await asyncio.gather(reloads(), *[buyer() for _ in range(4)])

    assert set().union(*seen) <= {10, 100}
