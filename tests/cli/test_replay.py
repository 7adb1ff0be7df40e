"""The replay against a gateway that keeps the contract: nothing differs, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.cli.answer import GaveUp
from gateway.cli.play.start import StartRefused
from tests.cli.fake_gateway import fake_gateway
from tests.cli.playing import CUT, HEADER, command, orders_file, play


async def test_replay_of_real_orders_is_exact() -> None:
    """Every invoice is played, the outcomes add up, and no level differs from the tool's own count."""
    async with fake_gateway() as gateway:
        report = await play(gateway.url)

    results = report.tally.results
    assert report.is_exact
    assert report.tally.invoices == len(report.orders.invoices) == 69
    assert results["fulfilled"] > 20
    assert results["abandoned"] > 5
    assert results["returned"] == sum(len(i.adjustments) for i in report.orders.invoices if i.number[0] == "C")
    assert results["corrected"] + results["insufficient"] == 5
    assert report.verdict.levels == len(gateway.on_hand)
    assert report.verdict.reservations == results["fulfilled"] + results["abandoned"]


async def test_replay_with_half_the_stock_sells_out_and_is_exact() -> None:
    """Invoices that find too little are counted as sold out, and move nothing."""
    async with fake_gateway() as gateway:
        report = await play(gateway.url, stock="0.5", concurrency=1)

    assert report.is_exact
    assert report.tally.results["sold_out"] > 10
    assert min(gateway.on_hand.values()) >= 0


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_replay_with_lost_answers_and_refused_work_is_exact(seed: int) -> None:
    """Requests that are lost, answers that are lost, 503 before and after the effect: repeated under one key,
    never guessed.
    """
    print(f"seed {seed}")
    faults = {"lost_before": 0.1, "lost_after": 0.15, "unavailable": 0.1, "durability_unknown": 0.1}
    async with fake_gateway(seed, **faults) as gateway:
        report = await play(gateway.url, seed=seed)

    assert report.is_exact
    assert report.tally.retries > 20
    assert report.tally.invoices == 69


async def test_replay_rides_through_a_restart() -> None:
    """A gateway that dies in the middle and comes back is waited for, and the count is exact."""
    async with fake_gateway() as gateway:
        running = asyncio.create_task(play(gateway.url, ttl_seconds=3, concurrency=4))
        await gateway.until(lambda: len(gateway.holds) >= 15)
        await gateway.stop()
        await asyncio.sleep(0.3)
        await gateway.start()
        report = await running

    assert report.is_exact
    assert report.tally.retries > 0


async def test_replay_counts_holds_lost_to_expiry(tmp_path: Path) -> None:
    """A gateway that is away for longer than the ttl answers reservation_expired: an outcome, and still
    exact.
    """
    path = orders_file(tmp_path, ("1", "A", 2), ("2", "B", 1))
    async with fake_gateway() as gateway:
        running = asyncio.create_task(play(gateway.url, path, abandon=0.0, concurrency=1, ttl_seconds=4))
        await gateway.until(lambda: bool(gateway.holds))
        await gateway.stop()
        await asyncio.sleep(4.1)
        await gateway.start()
        report = await running

    assert report.is_exact
    assert report.tally.results["expired"] == 1
    assert report.tally.results["fulfilled"] == 1
    assert gateway.on_hand == {"A": 2, "B": 0}


async def test_replay_counts_holds_lost_with_the_hot_store(tmp_path: Path) -> None:
    """A hold that is told as lost is an outcome, moves nothing, and does not make the run inexact."""
    path = orders_file(tmp_path, ("1", "A", 2), ("2", "B", 1))
    async with fake_gateway(loses_holds=True) as gateway:
        report = await play(gateway.url, path, abandon=0.0)

    assert report.is_exact
    assert report.tally.results["lost"] == 2


async def test_replay_gives_up_when_the_gateway_stays_away(tmp_path: Path) -> None:
    """Without an answer there is no outcome to count: the run ends, it does not guess."""
    path = orders_file(tmp_path, ("1", "A", 2))
    async with fake_gateway() as gateway:
        running = asyncio.create_task(play(gateway.url, path, patience_seconds=3.0))
        await gateway.until(lambda: ("POST", "/v1/reservations?shop=main") in gateway.requests)
        await gateway.stop()
        with pytest.raises(GaveUp, match="no final answer within 3"):
            await running
        await gateway.start()


async def test_replay_twice_in_one_shop_is_exact_both_times() -> None:
    """The second run sets the stock anew, whatever the first has left."""
    async with fake_gateway() as gateway:
        first = await play(gateway.url, run="one")
        second = await play(gateway.url, run="two")

    assert first.is_exact
    assert second.is_exact
    assert first.tally.results["abandoned"] == second.tally.results["abandoned"]


async def test_replay_refuses_to_start_over_open_holds(tmp_path: Path) -> None:
    """Units that others hold would move during the run; it is told, and no level was touched."""
    path = orders_file(tmp_path, ("1", "A", 2))
    async with fake_gateway(keeps_holds=True) as gateway:
        await play(gateway.url, path, abandon=1.0, run="one", settle_seconds_max=0.0)
        before = dict(gateway.sequences)
        with pytest.raises(StartRefused, match="A/main held 2"):
            await play(gateway.url, path, run="two")

    assert gateway.sequences == before


async def test_replay_at_a_speed_keeps_the_distances_and_measures_from_the_intended_start(
    tmp_path: Path,
) -> None:
    """A minute at speed 120 is half a second; an invoice that must wait for its turn counts that wait, and none before it was due."""
    path = orders_file(tmp_path, ("1", "A", 1), ("2", "A", 1), ("3", "A", 1))
    async with fake_gateway() as gateway:
        report = await play(gateway.url, path, abandon=0.0, speed=120.0, concurrency=1, ttl_seconds=60)

    assert report.is_exact
    assert 1.0 <= report.seconds < 30.0
    reserves = report.latencies._seconds["reserve"]
    assert len(reserves) == 3
    for number, seconds in enumerate(reserves):
        assert seconds < report.seconds - 0.5 * number


async def test_replay_late_start_is_part_of_the_latency(tmp_path: Path) -> None:
    """With one buyer at a time and all invoices due at once, the last has waited for all before it."""
    path = orders_file(tmp_path, *[(str(n), "A", 1) for n in range(40)])
    async with fake_gateway() as gateway:
        report = await play(gateway.url, path, abandon=0.0, speed=1_000_000.0, concurrency=1, ttl_seconds=60)

    reserves, confirms = (list(report.latencies._seconds[name]) for name in ("reserve", "confirm"))
    assert reserves == sorted(reserves)
    assert reserves[-1] > sum(confirms[:-1])
    reserve = report.latencies.percentiles()["reserve"]
    assert reserve.p50_ms > 5 * report.latencies.percentiles()["confirm"].p50_ms


async def test_replay_command_on_two_processes_is_exact_and_writes_the_report(tmp_path: Path) -> None:
    """Worker processes share the invoices, their outcomes meet in one count, and the status is 0."""
    json_path = tmp_path / "report.json"
    faults = {"lost_after": 0.05, "unavailable": 0.05}
    async with fake_gateway(**faults) as gateway:
        words = (
            "--url",
            gateway.url,
            "--ttl",
            "1",
            "--processes",
            "2",
            "--stock",
            "0.5",
            "--json",
            str(json_path),
        )
        status, out, err = await command("replay", str(CUT), *words)

    assert status == 0, out + err
    report = json.loads(json_path.read_bytes())
    assert report["is_exact"] is True
    assert report["invoices_played"] == 69
    assert report["results"]["sold_out"] > 5
    assert report["verdict"]["differences"] == []
    assert set(report["latency"]) == {"reserve", "confirm", "adjust"}
    assert "key" not in report["plan"]
    assert "exact: 0 differences" in out


async def test_replay_command_reports_rows_it_cannot_play(tmp_path: Path) -> None:
    """A row that the API would refuse is told with its line, the rest is played, and the status is 1."""
    path = tmp_path / "orders.csv"
    rows = ["1,A,x,1,2010-12-01T08:00:00,1,,UK", "2, A,x,1,2010-12-01T08:00:00,1,,UK"]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    async with fake_gateway() as gateway:
        status, out, _ = await command("replay", str(path), "--url", gateway.url, "--ttl", "60", "--abandon", "0")

    assert status == 1
    assert "line 3: StockCode ' A' begins or ends with a space" in out
    assert gateway.on_hand == {"A": 0}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--speed", "fast"), "--speed must be max or a number above 0"),
        (("--speed", "-1"), "--speed must be max or a number above 0"),
        (("--url", "ftp://x"), "--url must be an address like"),
        (("--url", "http://127.0.0.1:1"), "no final answer within 5 s"),
    ],
)
async def test_replay_command_that_cannot_run_ends_with_status_2(words: tuple[str, ...], told: str) -> None:
    """What cannot be begun is told in one line, without a traceback."""
    status, _, err = await command("replay", str(CUT), *words)

    assert status == 2
    assert told in " ".join(err.split())
    assert "Traceback" not in err
