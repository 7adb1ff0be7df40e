"""million_holds: reserves beside a million open holds, against reserves beside a thousand.

All holds are of the very sku that is sold, which is the worst: its index is as long as it can be. They are made by the script of a
group, as a web worker makes them, and are in the durable store before the rounds begin. A round adds holds of its own, some ten
thousands: so the smaller side is a new gateway each turn, and the larger one a new process on the same stores.
"""

from __future__ import annotations

from statistics import median

from redis import Redis

from bench import scripts
from bench.failure import ServerFailure
from bench.gateway_server import GatewayServer
from bench.quiet import wait_quiet
from bench.redis_bytes import steady_bytes
from bench.row import Figure, FigureRow, Sample, out_of_bracket, sample
from bench.rows.workers import ratio_of

SKU = "MILLION"
ON_HAND = 1_000_000_000
FEW, MANY, MANY_QUICK = 1_000, 1_000_000, 20_000
PART = 250_000  # holds that are made before the flusher is waited for
WARM_COUNT = 200
WARM_SECONDS = 0.5
RATIO_MIN, P99_TIMES_MAX, BYTES_MAX = 0.85, 1.5, 350.0


class MillionHolds(FigureRow):
    """Rate and p99 with many open holds, and what one of them takes in Redis."""

    name = "million_holds"
    title = "Reserve beside open holds"
    by_default = False

    def measure(self) -> list[Figure]:
        """The figures. Raises ServerFailure where a level does not hold what was made and answered."""
        arguments = self.stage.arguments
        self._many = MANY_QUICK if arguments.is_quick else MANY
        large = self.stage.fresh_gateway("million_large")
        with Redis.from_url(large.redis.url) as redis:
            large.client.stock(SKU, ON_HAND)
            fill(large, WARM_COUNT)
            empty_bytes = steady_bytes(redis)
            fill(large, self._many)
            per_hold = (steady_bytes(redis) - empty_bytes) / self._many
        few: list[Sample] = []
        many: list[Sample] = []
        for turn in range(arguments.rounds):
            small = self.stage.fresh_gateway(f"million_small_{turn}")
            small.client.stock(SKU, ON_HAND)
            fill(small, FEW)
            large.renew()
            sides = [(small, few), (large, many)]
            for gateway, played in sides if turn % 2 else reversed(sides):
                played.append(self._play(gateway, arguments.seconds))
            small.stop()
        large.stop()
        return self._figures(few, many, per_hold)

    def _play(self, gateway: GatewayServer, seconds: float) -> Sample:
        """A round, after a short one that is not kept; the level has grown by what was answered. Raises ServerFailure."""
        client, generator = gateway.client, self.stage.generator
        request = client.reserve(SKU, "memory")
        before = client.level(SKU)["held"]
        warm = sample(generator.play(request, min(WARM_SECONDS, seconds)))
        client.drain()
        wait_quiet()
        played = sample(generator.play(request, seconds))
        client.drain()
        grown = client.level(SKU)["held"] - before
        done = warm.done + played.done
        problems = out_of_bracket("holds of two rounds", grown, done, 2 * generator.in_flight_max())
        if problems or played.wrong:
            raise ServerFailure(f"million_holds: {problems}, {played.wrong} answers were missing or not as expected")
        return played

    def _figures(self, few: list[Sample], many: list[Sample], per_hold: float) -> list[Figure]:
        p99_times = median(that.p99_ms / this.p99_ms for this, that in zip(few, many, strict=True))
        return [
            Figure(f"{self.title}, {FEW:,}", median(one.rate for one in few), "per s"),
            Figure(f"{self.title}, {self._many:,}", median(one.rate for one in many), "per s"),
            Figure(f"{self.title}, {self._many:,}: rate", ratio_of(many, few), f"x that of {FEW:,}", None, RATIO_MIN),
            Figure(f"{self.title}, {FEW:,}: p99", median(one.p99_ms for one in few), "ms"),
            Figure(f"{self.title}, {self._many:,}: p99", median(one.p99_ms for one in many), "ms"),
            Figure(f"{self.title}, {self._many:,}: p99", p99_times, f"x that of {FEW:,}", P99_TIMES_MAX),
            Figure(f"Redis memory per open hold, {self._many:,} of one sku", per_hold, "bytes", BYTES_MAX),
        ]


def fill(gateway: GatewayServer, count: int) -> None:
    """So many more holds are open, and committed. Raises ServerFailure."""
    before = gateway.client.level(SKU)["held"]
    with Redis.from_url(gateway.redis.url) as redis:
        for first in range(0, count, PART):
            scripts.hold(redis, min(PART, count - first), lambda _: SKU)
            gateway.client.drain()
    held = gateway.client.level(SKU)["held"]
    if held != before + count:
        raise ServerFailure(f"{held} held after {before} and {count} more were opened")
