"""The ticker: whatever the server's clock does, deadlines are kept by the time that really passes."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.domain.errors import Overloaded
from gateway.hot.shard import Answer, Shard
from gateway.service import ticking
from gateway.service.ticking import JUMP_MS_MIN, LEAD_MS, SLEW, TICK_S, Ticker
from tests.lua.warehouse import POLICY
from tests.service.gateway import Gateway

HOUR_S = 3600
START_MS = 1_790_000_000_000


class Server:
    """A shard as the ticker knows it: a clock of its own, and what `tick` leaves in meta. Times of the test's own."""

    is_open = True

    def __init__(self) -> None:
        self.passed_s = 0.0  # by every monotonic clock
        self.jumps_ms = 0  # of TIME
        self.bound_ms = 0
        self.shift_ms = 0
        self.clock_ms = 0
        self.way_s = 0.0  # how long a call is under way, there and back each

    def now_ms(self) -> int:
        """The shard's clock, as a script finds it."""
        time_ms = START_MS + int(self.passed_s * 1000) + self.jumps_ms + self.shift_ms
        self.clock_ms = max(min(time_ms, self.bound_ms), self.clock_ms)
        return self.clock_ms

    async def run(self, name: str, keys: object, arguments: tuple[str, ...]) -> Answer:
        assert name == "tick"
        horizon_ms, lead_ms, seen_shift_ms, shift_ms, *_ = map(int, arguments)
        self.passed_s += self.way_s
        if self.shift_ms == seen_shift_ms:
            self.shift_ms = shift_ms
        time_ms = START_MS + int(self.passed_s * 1000) + self.jumps_ms + self.shift_ms
        self.now_ms()
        self.bound_ms = max(self.bound_ms, horizon_ms or time_ms + lead_ms)
        self.passed_s += self.way_s
        return Answer("TICKED", [str(time_ms), str(self.shift_ms)], time_ms, 0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """One whose time the test lets pass, for its gateways as well."""
    server = Server()
    monkeypatch.setattr(ticking, "time", SimpleNamespace(monotonic=lambda: server.passed_s))
    return server


def ticker_of(server: Server) -> Ticker:
    """One more gateway's."""
    return Ticker(cast("Shard", server), lambda: POLICY)


async def turns(server: Server, seconds: float, *tickers: Ticker) -> None:
    """So much time passes, and all of them tick as their jobs do."""
    until_s = server.passed_s + seconds
    while server.passed_s < until_s:
        for ticker in tickers:
            while await ticker.step():
                pass
        server.passed_s += TICK_S


async def test_ticking_without_a_jump_leaves_time_alone(server: Server) -> None:
    """The clock is TIME."""
    ticker = ticker_of(server)

    await turns(server, 60, ticker)

    assert server.shift_ms == 0
    assert server.now_ms() == START_MS + int(server.passed_s * 1000)
    assert ticker.warnings() == []


@pytest.mark.parametrize("jump_s", [2, HOUR_S, 365 * 24 * HOUR_S, -2, -HOUR_S])
@pytest.mark.parametrize("gateways", [1, 3])
async def test_ticking_through_a_jump_keeps_the_clock(server: Server, jump_s: int, gateways: int) -> None:
    """Before anybody notices it the clock is at most the lead ahead; then it goes on as if nothing had happened, and it is told."""
    tickers = [ticker_of(server) for _ in range(gateways)]
    await turns(server, 5, *tickers)

    server.jumps_ms += jump_s * 1000
    at_once_ms = server.now_ms() - START_MS - int(server.passed_s * 1000)
    await turns(server, 5, *tickers)
    later_ms = server.now_ms() - START_MS - int(server.passed_s * 1000)

    assert -LEAD_MS <= at_once_ms <= LEAD_MS
    assert abs(later_ms) <= 5000 * SLEW * gateways + JUMP_MS_MIN
    assert all("jumped" in ticker.warnings()[0] for ticker in tickers)


async def test_ticking_after_the_clock_came_back_is_as_before(server: Server) -> None:
    """TIME is right again: no shift, no warning."""
    ticker = ticker_of(server)
    await turns(server, 5, ticker)
    server.jumps_ms = HOUR_S * 1000
    await turns(server, 60, ticker)

    server.jumps_ms = 0
    await turns(server, 5, ticker)

    assert server.shift_ms == 0
    assert ticker.warnings() == []
    assert server.now_ms() == START_MS + int(server.passed_s * 1000)


@pytest.mark.parametrize("jump_s", [30, -30])
async def test_ticking_on_wears_a_shift_off(server: Server, jump_s: int) -> None:
    """A clock that was set right for good is followed in the end, by about a hundredth of the time that passes."""
    ticker = ticker_of(server)
    await turns(server, 5, ticker)
    server.jumps_ms = jump_s * 1000
    await turns(server, 1000, ticker)
    half_way_ms = server.shift_ms

    await turns(server, 3000, ticker)

    assert abs(half_way_ms + jump_s * 1000) == pytest.approx(10_000, rel=0.25)
    assert server.shift_ms == 0


async def test_ticking_over_a_slow_way_is_no_jump(server: Server) -> None:
    """An answer that took seconds may have read TIME at any moment of them."""
    ticker = ticker_of(server)
    await turns(server, 5, ticker)

    server.way_s = 4.0
    await turns(server, 60, ticker)

    assert server.shift_ms == 0


async def test_ticking_at_random_jumps_never_runs_ahead(server: Server) -> None:
    """Jumps of any size at any moment: the clock is never further ahead than the lead and what wore off, and never stands still."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    tickers = [ticker_of(server) for _ in range(2)]
    await turns(server, 2, *tickers)
    for _ in range(200):
        before_ms, before_s = server.now_ms(), server.passed_s
        server.jumps_ms += chance.choice((-1, 1)) * chance.choice((0, 900, 1500, 60_000, 10**9))
        await turns(server, chance.uniform(0.3, 20), *tickers)
        passed_ms = int((server.passed_s - before_s) * 1000)
        drifted_ms = server.now_ms() - before_ms - passed_ms
        # What differs by less than a second is not told from a way that takes as long: three seconds for this, the lead and the rest.
        assert abs(drifted_ms) <= 3 * LEAD_MS + 2 * SLEW * passed_ms


async def test_ticking_tells_an_opener_what_the_clock_should_say(server: Server) -> None:
    """Before the first tick nothing is known; afterwards it goes on with the process' clock, whatever Redis does."""
    ticker = ticker_of(server)
    unknown_ms = ticker.expected_ms()
    await turns(server, 1, ticker)

    server.jumps_ms = HOUR_S * 1000
    server.passed_s += 100

    assert unknown_ms == 0
    assert ticker.expected_ms() == START_MS + int(server.passed_s * 1000)


async def test_ticking_on_a_real_shard_keeps_a_hold_through_an_hour(idle: Gateway) -> None:
    """TIME is an hour ahead: until a tick calls seem late and do nothing; it is told, and the clock goes on as it was."""
    await idle.put("tee", 2)
    held = await idle.reserve(("tee", 1))
    ticker = Ticker(idle.shard, lambda: POLICY)
    assert await ticker.step() == 0
    # TIME can not be moved here; a shift that nobody asked for is the same jump.
    meta = idle.shard.keys.meta
    horizon = await idle.redis("HGET", meta, "horizon")
    await idle.redis("HSET", meta, "horizon", f"{horizon} {HOUR_S * 1000}")

    with pytest.raises(Overloaded) as refusal:
        await idle.sweep()
    jumped = await ticker.step()
    warnings = ticker.warnings()
    assert await ticker.step() == 0
    after = await idle.reserve(("tee", 1))

    assert refusal.value.outcome == "not_applied"
    assert (jumped, await idle.sweep()) == (1, 0)
    assert "3600" in warnings[0]
    assert ticker.warnings() == []
    assert (await idle.read(held)).reservation.state == "held"
    assert after.reservation.created_ms - held.reservation.created_ms < 60_000


async def test_ticking_on_a_real_shard_remembers_keys_that_a_jump_has_ended(idle: Gateway) -> None:
    """TIME jumps by two days and everything in Redis that has a life ends: a retry of any key finds what it did."""
    await idle.put("tee", 5)
    released = await idle.reserve(("tee", 2), key="buyer")
    await idle.release(released)
    adjusted = await idle.adjust("tee", 3, "delivery")
    await idle.flush()
    ticker = Ticker(idle.shard, lambda: POLICY)
    assert await ticker.step() == 0

    # TIME can not be moved here: the lives of keys are shortened as it would, and a shift that nobody asked for is the same jump.
    meta = idle.shard.keys.meta
    mortal = [key for key in await idle.keys() if await idle.redis("PTTL", key) > 0]
    await idle.redis("DEL", *mortal)
    horizon = await idle.redis("HGET", meta, "horizon")
    await idle.redis("HSET", meta, "horizon", f"{horizon} {48 * HOUR_S * 1000}")
    while await ticker.step():
        pass
    await ticker.step()
    again = await idle.reserve(("tee", 2), key="buyer")
    counted = await idle.adjust("tee", 3, "delivery")

    assert {key.rpartition("}:")[2].split(":")[1] for key in mortal} == {"s", "r", "q"}
    assert (again.replayed, again.reservation.id) == (True, released.reservation.id)
    assert (counted.replayed, counted.level.on_hand) == (True, adjusted.level.on_hand)
