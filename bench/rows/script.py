"""script: what Redis alone does with the script of a single reserve, sixteen calls in each write, nothing in front of it.

A gateway makes the stock and ends, and its Redis goes on with the shard open. Each call has a random part of its own, so each must have
taken one unit: the level is counted after each round.
"""

from __future__ import annotations

from redis import Redis

from bench import pipelined, scripts
from bench.failure import ServerFailure
from bench.row import RateRow, Sample

SKU = "SCRIPT"
ON_HAND = 1_000_000_000
FIRST_COUNT = 20_000  # calls of the first round, which tells how many the next ones need
LOG_ENTRIES_MAX = 1000


class Script(RateRow):
    """FCALL of reserve for one unit of one hot sku."""

    name = "script"
    title = f"reference: the script of one reserve, {pipelined.name()} -P {scripts.PIPELINE}"

    def prepare(self) -> None:
        """A shard is open that no gateway works on. Without a lease, or it would refuse after some seconds."""
        self._server = self.stage.fresh_gateway("script", GATEWAY_DURABLE__LEASE_SECONDS="0")
        self._server.client.stock(SKU, ON_HAND)
        self._server.leave_redis()
        self._redis = Redis.from_url(self._server.redis.url)
        self._place = scripts.place_of(self._redis)
        self._rate = 0.0
        self._called = 0
        self._problems: list[str] = []

    def play(self, seconds: float) -> Sample:
        """One round, as long as the last one's rate makes it."""
        # redis-benchmark fills its last write whatever it was told.
        count = max(1, int(self._rate * seconds or FIRST_COUNT) // scripts.PIPELINE) * scripts.PIPELINE
        played = pipelined.play(self._server.redis.address, self._call, count)
        self._rate = played.calls / played.seconds
        self._called += count
        return Sample(count, 0, played.seconds, played.p50_ms, played.p99_ms)

    def settle(self) -> None:
        """Every call took a unit; the log, which nobody reads, is short again."""
        if (held := scripts.held(self._redis, SKU)) != self._called:
            self._problems.append(f"script: {held} units are held after {self._called} calls")
        self._redis.xtrim(self._place.keys.log, maxlen=LOG_ENTRIES_MAX)

    def verify(self) -> list[str]:
        """What was found after the rounds."""
        if scripts.place_of(self._redis) != self._place:
            raise ServerFailure("script: the shard is another one than before")
        return self._problems

    def _call(self, random_part: str) -> list[str]:
        return scripts.single_call(self._place, SKU, random_part)
