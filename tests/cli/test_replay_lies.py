"""A gateway that breaks a law is found out: the comparison can fail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fake_gateway import FakeGateway, fake_gateway
from tests.cli.playing import command, orders_file, play


async def lie(
    tmp_path: Path, rows: list[tuple[str, str, int]], abandon: float = 0.0, stock: str = "1.0", **faults: Any
) -> Any:
    async with fake_gateway(**faults) as gateway:
        # Only what is to fall due is short-lived: a machine may stand still between a hold and its confirm.
        ttl_seconds = 1 if faults.get("keeps_holds") else 60
        settings: dict[str, Any] = {"abandon": abandon, "stock": stock, "concurrency": 1, "ttl_seconds": ttl_seconds}
        return await play(gateway.url, orders_file(tmp_path, *rows), settle_seconds_max=0.3, **settings)


async def test_replay_finds_an_oversell_by_one(tmp_path: Path) -> None:
    """One unit too many was promised and sold: every counter is consistent, and yet more was sold than there
    was.
    """
    report = await lie(tmp_path, [("1", "A", 2), ("2", "A", 1), ("3", "A", 2)], stock="0.5", oversells_by=1)

    assert not report.is_exact
    assert report.verdict.differences == []
    assert report.verdict.violations == ["A oversold: 3 units sold of 2 there ever were"]


async def test_replay_finds_units_that_were_not_shipped(tmp_path: Path) -> None:
    """on_hand that is too high by one unit is a difference, of the level and of the sku's total."""
    report = await lie(tmp_path, [("1", "A", 2), ("2", "B", 1)], ships_one_less=True)

    assert not report.is_exact
    told = {(d.sku, d.location, d.counter, d.expected, d.found) for d in report.verdict.differences}
    assert ("A", "main", "on_hand", 0, 1) in told
    assert ("A", "(all)", "available", 0, 1) in told
    assert {d.sku for d in report.verdict.differences} == {"A", "B"}


async def test_replay_finds_a_return_that_was_answered_and_not_booked(tmp_path: Path) -> None:
    """A 200 without its effect is a difference."""
    report = await lie(tmp_path, [("1", "A", 2), ("C2", "A", -2)], forgets_a_return=True)

    assert [(d.counter, d.expected, d.found) for d in report.verdict.differences if d.location == "main"] == [
        ("on_hand", 2, 0),
        ("available", 2, 0),
    ]


async def test_replay_finds_holds_that_never_expire(tmp_path: Path) -> None:
    """A hold past its deadline is found in the level, in the reservation and in the search."""
    report = await lie(tmp_path, [("1", "A", 2), ("2", "A", 1), ("3", "B", 1)], abandon=1.0, keeps_holds=True)

    words = "\n".join(report.verdict.violations)
    assert "2 skus still have units held" in words
    assert "reads held, and must read expired" in words
    assert "3 reservations are still found as held" in words
    assert {d.counter for d in report.verdict.differences} == {"held", "available"}


async def test_replay_finds_holds_that_expire_before_their_time(tmp_path: Path) -> None:
    """A live hold that a confirm finds expired, and an abandoned one that is gone too soon, are told."""
    confirmed = await lie(tmp_path, [("1", "A", 2)], expires_early=True)
    abandoned = await lie(tmp_path, [("1", "A", 2)], abandon=1.0, expires_early=True)

    assert any("before the hold's time was over" in words for words in confirmed.complaints.contradictions)
    assert any("expired before its time was over" in words for words in abandoned.verdict.violations)
    assert not confirmed.is_exact
    assert not abandoned.is_exact


async def test_replay_finds_a_sale_that_reads_otherwise_later(tmp_path: Path) -> None:
    """A reservation that was answered as fulfilled must read so."""
    report = await lie(tmp_path, [("1", "A", 2)], reads_fulfilled_as="released")

    assert any("reads released, and must read fulfilled" in words for words in report.verdict.violations)


async def test_replay_finds_an_answer_that_holds_less_than_was_asked(tmp_path: Path) -> None:
    """All lines or none: an answer with one unit less contradicts the contract, though its level adds up."""
    report = await lie(tmp_path, [("1", "A", 2)], grants_one_less=True)

    assert report.verdict.differences == []
    assert any("reserve answered {'A': 1} to {'A': 2}" in words for words in report.complaints.contradictions)
    assert not report.is_exact


async def test_replay_finds_a_unit_that_somebody_else_took(tmp_path: Path) -> None:
    """The count is the tool's own: a level that was changed behind its back differs."""
    path = orders_file(tmp_path, *[(str(n), "A", 1) for n in range(20)])

    async def thief(gateway: FakeGateway) -> None:
        await gateway.until(lambda: len(gateway.holds) >= 10)
        gateway.on_hand["A"] += 1

    async with fake_gateway() as gateway:
        stealing = asyncio.create_task(thief(gateway))
        report = await play(gateway.url, path, abandon=0.0, concurrency=2, ttl_seconds=60)
        await stealing

    assert [(d.counter, d.expected, d.found) for d in report.verdict.differences if d.location == "main"] == [
        ("on_hand", 0, 1),
        ("available", 0, 1),
    ]


@pytest.mark.parametrize("fault", ["ships_one_less", "oversells_by"])
async def test_replay_command_ends_with_status_1_when_something_differs(tmp_path: Path, fault: str) -> None:
    """Status and words say it, and the differences are shown."""
    path = orders_file(tmp_path, ("1", "A[b]", 2), ("2", "A[b]", 2))
    async with fake_gateway(**{fault: 2}) as gateway:
        words = ("--url", gateway.url, "--abandon", "0", "--stock", "0.5", "--ttl", "60", "--concurrency", "1")
        status, out, _ = await command("replay", str(path), *words)

    assert status == 1
    assert "NOT EXACT" in out
    assert "A[b]" in out
