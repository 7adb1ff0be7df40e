"""Openings that follow each other soon: the first few go at once, then there are pauses, and what others opened is joined in."""

from __future__ import annotations

import pytest

from gateway.domain.errors import ShardRecovering
from gateway.service import pacing
from gateway.service.pacing import Pace
from tests.service.gateway import Gateway, running
from tests.service.stores import Stores

HOUR_S = 3600.0


def paused_s(pace: Pace, now_s: float) -> float:
    """How long from now the next opening has to wait, in steps of a tenth of a second."""
    steps = 0
    while True:
        try:
            pace.refuse_haste(now_s + steps / 10)
        except ShardRecovering:
            steps += 1
        else:
            return steps / 10


def test_pace_lets_the_first_go_at_once_and_pauses_double_up_to_their_bound() -> None:
    """Three in a row at once, then half a second, one, two and three; with the other end of chance half of each."""
    for chance, wanted in ((1.0, [0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 3.0]), (0.0, [0.0, 0.0, 0.3, 0.5, 1.0, 1.5, 1.5])):
        pace = Pace(jitter=lambda chance=chance: chance)  # type: ignore[misc]
        now_s, seen = 1000.0, []
        for _ in wanted:
            pace.raised(now_s)
            seen.append(paused_s(pace, now_s))
            now_s += seen[-1]
        assert seen == wanted


def test_pace_forgets_what_lasted() -> None:
    """After a steady time the next opening is the first of its kind, however many there were before."""
    pace = Pace(jitter=lambda: 1.0)
    for _ in range(50):
        pace.raised(1000.0)
    assert paused_s(pace, 1000.0) == pacing.PAUSE_S_MAX
    pace.raised(1000.0 + pacing.STEADY_S)
    assert paused_s(pace, 1000.0 + pacing.STEADY_S) == 0


@pytest.fixture
def is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause lasts longer than any test."""
    monkeypatch.setattr(pacing, "PAUSE_S_MIN", HOUR_S)
    monkeypatch.setattr(pacing, "PAUSE_S_MAX", HOUR_S)


async def test_opening_that_fails_again_and_again_raises_the_epoch_a_few_times(
    stores: Stores, is_slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty turns of the keeper in which nothing can be opened take three epochs, not twenty; and the next one that may, opens."""
    async with running(stores, is_flushing=False) as gateway:
        await gateway.put("tee", 5)
        await gateway.flush()
        await gateway.redis("FLUSHALL")
        gateway.shard.close()
        begun = (await gateway.ledger.read_shard(0)).epoch
        gateway.opener.pace = Pace()
        with monkeypatch.context() as patch:

            async def full(*_: object, **__: object) -> None:
                raise ShardRecovering("Redis is full")

            patch.setattr("gateway.service.opening.rebuild", full)
            for _ in range(20):
                with pytest.raises(ShardRecovering):
                    await gateway._keeper.step()

        assert (await gateway.ledger.read_shard(0)).epoch == begun + pacing.PROMPT_MAX
        assert await gateway.keep() == 1
        assert (await gateway.level("tee")).on_hand == 5


async def test_opening_that_has_to_wait_joins_in_what_another_opened(stores: Stores, is_slow: None) -> None:
    """Only to raise the epoch is paused for: a shard that somebody else has opened is worked on at once."""

    async def is_opened_by(gateway: Gateway) -> int:
        await gateway.redis("HSET", gateway.shard.keys.meta, "poison", "a test")
        gateway.shard.close()
        return await gateway._keeper.step()

    async with running(stores, is_flushing=False) as hasty, running(stores, is_flushing=False) as calm:
        await hasty.put("tee", 5)
        hasty.opener.pace = Pace()
        for _ in range(pacing.PROMPT_MAX):
            assert await is_opened_by(hasty) == 1
        with pytest.raises(ShardRecovering, match="in a row"):
            await is_opened_by(hasty)

        calm.shard.close()
        assert await calm.keep() == 1
        assert await hasty._keeper.step() == 1
        assert hasty.shard.epoch == calm.shard.epoch
