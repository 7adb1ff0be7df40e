"""A flash sale against a gateway that keeps the contract: nothing is accused, whatever is lost on the way, and it leaves nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.cli.flashsale import is_loopback
from gateway.cli.sale.figures import Figures
from gateway.cli.sale.pay_delay import PayDelay
from tests.cli.fake_gateway import FakeGateway, fake_gateway
from tests.cli.playing import command
from tests.cli.selling import reports, sell

LOST = {"lost_before": 0.1, "lost_after": 0.15, "unavailable": 0.1, "durability_unknown": 0.1}


def is_empty(gateway: FakeGateway) -> bool:
    """Whether nothing of a sale is left to be sold or held."""
    open_states = {"held", "confirmed"} & {gateway.state(hold) for hold in gateway.holds.values()}
    return not open_states and set(gateway.on_hand.values()) <= {0} and gateway.paused == set(gateway.on_hand)


async def test_flashsale_sells_exactly_the_stock_and_cleans_up() -> None:
    """More buyers than units: all units are sold, every counter agrees, and afterwards the skus are paused and empty."""
    async with fake_gateway() as gateway:
        result = await sell(gateway.url)
        told = result.as_json()

        assert result.verdict.is_exact, result.verdict.violations
        assert result.verdict.sentence() == "Exactly the stock was sold: 20 units, none twice, none lost."
        assert (result.verdict.committed, result.verdict.held, result.verdict.available) == (20, 0, 0)
        assert told["results"] == {"sold": 20, "sold_out": 40}
        assert told["codes"] == {"out_of_stock": 40, "reserve_done": 20, "confirm_done": 20}
        assert told["verdict"]["checked"] == {
            "reservations_searched": 20, "reservations_read": 0, "levels": 2, "conservation": 1,
        }  # fmt: skip
        assert told["gateway"]["version"] == "0.0.0-fake"
        assert result.cleared is not None
        assert result.cleared.failures == []
        assert is_empty(gateway)
        assert "secret-key" not in json.dumps(told)


async def test_flashsale_with_too_few_buyers_sells_what_demand_allowed() -> None:
    """What nobody wanted is free, what was abandoned is held, and the sum is the stock."""
    async with fake_gateway() as gateway:
        result = await sell(gateway.url, units=50, abandon=0.5)
    verdict = result.verdict

    assert verdict.is_exact, verdict.violations
    assert 0 < verdict.sold < 60
    assert verdict.held == 60 - verdict.sold == result.figures.results["abandoned"]
    assert verdict.committed + verdict.held + verdict.available == 100
    assert "as demand allowed" in verdict.sentence()


@pytest.mark.parametrize("seed", [1, 2])
async def test_flashsale_with_everything_going_wrong_accuses_nobody(seed: int) -> None:
    """Lost requests and answers, 503, requests sent twice, bots, holds that fall due and are sold again: still exact."""
    print(f"seed {seed}")
    async with fake_gateway(seed, **LOST) as gateway:
        result = await sell(
            gateway.url, seed=seed, abandon=0.3, duplicates=0.5, bots=0.1, ttl_seconds=1, rate_per_second=40.0,
            arrivals="poisson", pay_delay=PayDelay("exp", 0.3),
        )  # fmt: skip
        assert is_empty(gateway)

    figures = result.figures
    assert result.verdict.is_exact, result.verdict.violations
    assert figures.repeated > 20
    assert figures.latency["duplicate"].count > 10
    assert figures.results["bot_held"] + figures.results["bot_sold_out"] == 5 * (60 - buyers_of(figures.results))
    assert figures.arrived == 60


def buyers_of(results: dict[str, int]) -> int:
    """Tries of buyers that are no bots: one each."""
    return sum(count for name, count in results.items() if not name.startswith("bot_"))


async def test_flashsale_asks_again_for_what_it_lost_sight_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that got no answer in time are settled by their own keys when the gateway is back."""
    ended, is_given_up = Figures.ended, asyncio.Event()

    def seen(figures: Figures, result: str) -> None:
        ended(figures, result)
        if result == "unknown":
            is_given_up.set()

    monkeypatch.setattr(Figures, "ended", seen)
    async with fake_gateway() as gateway:
        running = asyncio.create_task(sell(gateway.url, patience_seconds=1.0, abandon=0.3, concurrency=8))
        await gateway.until(lambda: len(gateway.holds) >= 6)
        gateway.faults.lost_after = 1.0
        await is_given_up.wait()
        gateway.faults.lost_after = 0.0
        result = await running

    assert result.verdict.resolved > 0
    assert result.figures.results["unknown"] > 0
    assert result.verdict.is_exact, result.verdict.violations


async def test_flashsale_cut_off_cleans_up() -> None:
    """An interrupted sale gives everything back before it ends."""
    async with fake_gateway() as gateway:
        running = asyncio.create_task(sell(gateway.url, abandon=1.0, rate_per_second=20.0, concurrency=0))
        await gateway.until(lambda: len(gateway.holds) >= 5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert is_empty(gateway)


async def test_flashsale_told_to_keep_leaves_everything() -> None:
    """The reservations are there to be looked at."""
    async with fake_gateway() as gateway:
        result = await sell(gateway.url, is_kept=True)

        assert result.cleared is None
        assert gateway.paused == set()
        assert sum(gateway.committed(sku) for sku in gateway.on_hand) == 20


async def test_flashsale_says_when_it_could_not_keep_its_own_schedule() -> None:
    """A rate that no process can send is told as the generator's fault, with figures."""
    async with fake_gateway() as gateway:
        late = await sell(gateway.url, rate_per_second=50_000.0, buyers=400, units=1)
    schedule = late.as_json()["schedule"]

    assert late.verdict.is_exact, late.verdict.violations
    assert schedule["is_kept"] is False
    assert "did not keep its own schedule: requests left late" in schedule["words"]
    assert schedule["send_lag"]["p99_ms"] > 10
    assert schedule["rate_offered_per_second"] < 50_000


async def test_flashsale_ends_after_its_duration() -> None:
    """Nobody comes after it, in either loop."""
    async with fake_gateway() as gateway:
        opened = await sell(gateway.url, rate_per_second=50.0, duration_seconds=0.5)
        closed = await sell(
            gateway.url, run="two", concurrency=1, duration_seconds=3.0, pay_delay=PayDelay("fixed", 0.5)
        )

    assert opened.figures.arrived == 25
    assert 0 < closed.figures.arrived < 60
    assert opened.verdict.is_exact
    assert closed.verdict.is_exact


async def test_flashsale_without_the_ops_scope_says_what_it_did_not_check() -> None:
    """A conservation check that is not allowed or not wanted is no failure, and is named."""
    async with fake_gateway() as gateway:
        gateway.conservation_status = 403
        denied = await sell(gateway.url)
        unwanted = await sell(gateway.url, run="two", has_conservation=False)

    assert denied.verdict.is_exact
    assert denied.verdict.not_checked == ["conservation: durable_store_unavailable"]
    assert unwanted.verdict.not_checked == ["conservation: not wanted (--no-conservation)"]


async def test_flashsale_whose_requests_are_refused_is_not_judged() -> None:
    """A ttl that the gateway does not allow sells nothing: that is no demand, and no exact sale."""
    async with fake_gateway(ttl_seconds_max=30) as gateway:
        result = await sell(gateway.url)

    assert result.verdict.word == "not known"
    assert result.verdict.refused == 60
    assert "60 tries were refused for another reason than the stock: invalid_request" in result.verdict.sentence()


async def test_flashsale_command_writes_both_reports(tmp_path: Path) -> None:
    """Status 0, plain lines on stderr, the verdict last on stdout, one report for people and one for machines."""
    async with fake_gateway() as gateway:
        words = ("--url", gateway.url, "--buyers", "60", "--units", "20", "--rate", "200", "--abandon", "0")
        status, out, err = await command("flashsale", *words, "--pay-delay", "0", "--report", str(tmp_path / "r"))
    page, told = reports(tmp_path / "r")

    assert status == 0, out + err
    assert "exact: Exactly the stock was sold: 20 units, none twice, none lost." in out
    assert "comparing with the books" in err
    assert page.startswith("<!doctype html>")
    assert told["verdict"]["is_exact"] is True
    assert told["options"]["rate_per_second"] == 200.0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--rate", "10", "--concurrency", "5"), "choose one of them"),
        (("--pay-delay", "soon"), "--pay-delay must be seconds"),
        (("--url", "http://127.0.0.1:1"), "no final answer within 5 s"),
        (("--url", "http://192.0.2.1:8080"), "repeat the command with --yes"),
        (("--buyers", "1000001"), "Invalid value"),
        (("--rate", "-1"), "Invalid value"),
    ],
)
async def test_flashsale_command_that_cannot_run_ends_with_status_2(words: tuple[str, ...], told: str) -> None:
    """Wrong usage, no gateway, or a gateway of others without consent: told in words, nothing was sent."""
    status, _, err = await command("flashsale", *words)

    assert status == 2
    assert told in " ".join(err.split())
    assert "Traceback" not in err


def test_flashsale_knows_its_own_machine() -> None:
    """Only what surely is this machine is loaded without asking."""
    here = ["http://127.0.0.1:8080", "http://127.9.9.9", "http://[::1]:8080", "http://localhost:1"]
    elsewhere = ["http://192.0.2.1", "http://localhost.example.com", "http://shop", "http://0.0.0.0", ""]

    assert [is_loopback(url) for url in here] == [True] * 4
    assert [is_loopback(url) for url in elsewhere] == [False] * 5
