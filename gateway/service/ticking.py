"""The ticker: it lets the shard's clock go on as the process' monotonic clock does, and takes jumps of the server's clock out.

The shard's clock is Redis' TIME, so one that is set forward by an hour would make every hold due at once, and one set back would
keep them for an hour longer. Therefore the clock may be at most `LEAD_MS` ahead of what a gateway has seen pass, and once a jump is
seen, a `shift` in meta makes up for it. The shift is then worn off slowly, so that in the end TIME holds again.

What has passed is not asked of the event loop: its time is that of the turn's beginning, and a turn that took a second would be
taken for a jump of Redis.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from gateway import metrics
from gateway.domain.errors import Overloaded
from gateway.domain.policy import Policy
from gateway.hot.shard import Shard

log = structlog.get_logger(__name__)

TICK_S = 0.25
LEAD_MS = 2000  # how far the clock goes on without a tick: under load eight of them may come late
JUMP_MS_MIN = 1000  # what differs less is the way to Redis, or a clock that is being set right
SLEW = 0.01  # of the time that passes: a hold of 15 minutes lives 9 s more or less while a shift wears off


class Ticker:
    """Ticks for one shard. Every process does, and the one that is furthest decides; a tick more does no harm."""

    def __init__(
        self, shard: Shard, policy: Callable[[], Policy], must_remember: Callable[[], bool] = lambda: False
    ) -> None:
        """`must_remember`: whether unknown request records, while they are asked for at all, are asked for beyond the retention."""
        self._shard = shard
        self._policy = policy
        self._must_remember = must_remember
        self._seen: tuple[int, float] | None = None  # what the shard's clock said, and when
        self._seen_shift_ms = 0
        self._shift_ms = 0  # what the next tick makes of it

    def expected_ms(self) -> int:
        """What the shard's clock says now by this process' monotonic clock, whatever Redis says; 0 before the first tick."""
        return self._at(time.monotonic())

    def warnings(self) -> list[str]:
        """What is to be told of the clock, a sentence each."""
        if not self._seen_shift_ms:
            return []
        return [
            f"the clock of Redis jumped: deadlines are kept {-self._seen_shift_ms / 1000:.1f} s beside it; see to its time"
        ]

    async def step(self) -> int:
        """The clock may go on for another moment. Returns 1 when a jump was seen: the next tick is wanted at once.

        Raises what `Shard.run` raises, and Overloaded for an answer that is none of a tick.
        """
        shard = self._shard
        if not shard.is_open:
            return 0
        sent_s = time.monotonic()
        expected_ms = self._at(sent_s)
        horizon_ms = expected_ms + LEAD_MS if expected_ms else 0
        retention_ms, asks_on = self._policy().retention_ms, int(self._must_remember())
        arguments = (horizon_ms, LEAD_MS, self._seen_shift_ms, self._shift_ms, retention_ms, asks_on)
        answer = await shard.run("tick", (), tuple(map(str, arguments)))
        if answer.status != "TICKED":
            raise Overloaded(f"the tick was answered {answer.status}")
        time_ms, self._seen_shift_ms = map(int, answer.fields)
        metrics.CLOCK_SHIFT_SECONDS.set(self._seen_shift_ms / 1000)
        return self._judge(time_ms, sent_s, time.monotonic())

    def _at(self, now_s: float) -> int:
        if self._seen is None:
            return 0
        seen_ms, seen_s = self._seen
        return seen_ms + int((now_s - seen_s) * 1000)

    def _judge(self, time_ms: int, sent_s: float, got_s: float) -> int:
        """TIME was read somewhere between the two moments: does it say what has passed since it was last seen?"""
        if self._seen is None:
            self._seen, self._shift_ms = (time_ms, got_s), self._seen_shift_ms
            return 0
        earliest_ms, latest_ms = self._at(sent_s), self._at(got_s)
        off_ms = max(time_ms - latest_ms, 0) + min(time_ms - earliest_ms, 0)
        shift_ms = self._seen_shift_ms
        if abs(off_ms) > JUMP_MS_MIN:
            wanted_ms = shift_ms - off_ms
            self._shift_ms = wanted_ms if abs(wanted_ms) > JUMP_MS_MIN else 0
            log.error("clock_jumped", by_seconds=off_ms / 1000, shift_seconds=self._shift_ms / 1000)
            return 1
        worn_ms = min(max(int((got_s - self._seen[1]) * 1000 * SLEW), 1), abs(shift_ms))
        self._shift_ms = shift_ms - worn_ms if shift_ms > 0 else shift_ms + worn_ms
        self._seen = (time_ms, got_s)
        return 0
