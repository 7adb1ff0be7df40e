"""A claim is short, and renewed as long as its process runs and something comes of the opening."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from gateway.domain.errors import ShardRecovering
from gateway.durable.ledger import Ledger, LedgerUnavailable
from gateway.service import claim as claim_module
from gateway.service import opening
from gateway.service.claim import Claim


class Row:
    """The shard's row as a claim sees it: each renewal is told, and answered as it should be."""

    def __init__(self) -> None:
        self.renewals = 0
        self.is_ours = True
        self.is_away = False
        self.renewed = asyncio.Condition()

    async def keep_claim(self, shard: int, epoch: int, owner: str, lease_ms: int) -> bool:
        assert (shard, epoch, owner, lease_ms) == (3, 7, "us", 30)
        async with self.renewed:
            self.renewals += 1
            self.renewed.notify_all()
        if self.is_away:
            raise LedgerUnavailable("the database is away")
        return self.is_ours

    async def until(self, renewals: int) -> None:
        """It was renewed so often."""
        async with asyncio.timeout(10), self.renewed:
            await self.renewed.wait_for(lambda: self.renewals >= renewals)


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Row:
    monkeypatch.setattr(claim_module, "PAUSE_S_MIN", 0.001)
    return Row()


def claimed(row: Row) -> Claim:
    """A claim of 30 ms that has begun."""
    claim = Claim(cast("Ledger", row), 3, "us", 30)
    claim.begin(7)
    return claim


def test_dead_opener_is_overtaken_within_ten_seconds() -> None:
    """Its claim, and the longest pause between two looks of another gateway, are over by then."""
    assert opening.OWNER_LEASE_MS + 500 < 10_000


async def test_claim_is_renewed_while_nothing_is_told_of_and_the_store_is_away_for_a_moment(row: Row) -> None:
    """One answer of a store may take longer than the claim lasts, and one renewal may fail: the next one is made all the same."""
    claim = claimed(row)
    task = claim._renewing
    assert task is not None
    await row.until(3)
    row.is_away = True
    await row.until(row.renewals + 2)
    row.is_away = False
    await row.until(row.renewals + 2)

    assert not task.done()
    await claim.end()
    assert task.cancelled()
    await claim.end()


async def test_claim_of_an_opening_that_hangs_is_given_up(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no page was worked on for long, nobody renews it, although the process runs."""
    monkeypatch.setattr(claim_module, "SILENCE_S_MAX", 0.05)
    claim = claimed(row)
    task = claim._renewing
    assert task is not None
    async with asyncio.timeout(10):
        await task
    await claim.end()


async def test_claim_that_is_anothers_ends_the_work(row: Row) -> None:
    """The next page finds out that it was overtaken, and it is not renewed behind that."""
    row.is_ours = False
    claim = claimed(row)
    task = claim._renewing
    assert task is not None
    async with asyncio.timeout(10):
        await task
    with pytest.raises(ShardRecovering, match="overtaken"):
        await claim.keep()
    await claim.end()
