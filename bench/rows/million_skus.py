"""million_skus: a million skus in the durable store, of which ten thousand are sold: Redis keeps those, and gets a cold one quickly.

The skus come by an import, as a catalogue does. Nothing has a hold, so a moment after the import Redis has forgotten them all. Then
each of ten thousand is reserved once, at a fixed rate: each of these requests finds its sku cold and waits for the durable store, and
its latency counts from the instant at which it was due. Afterwards Redis must have as many skus as were sold, and its memory is
compared with that of a gateway whose catalogue has these alone.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from redis import Redis

from bench import scripts, wide
from bench.failure import ServerFailure
from bench.gateway_server import GatewayServer
from bench.open_loop import Job
from bench.redis_bytes import steady_bytes
from bench.rounds import say_to_terminal
from bench.row import Figure, FigureRow, Sample
from bench.rows.hot_open import sample_of
from bench.storm import play

PREFIX = "M"
SKUS, SKUS_QUICK = 1_000_000, 20_000
HOT, HOT_QUICK = 10_000, 1_000
IMPORT = 10_000  # skus of one import
IMPORTS = 4  # that run at once: one alone waits for the stores most of the time
WARM_PREFIX, WARM_SKUS = "V", 200  # first uses that are not kept: connections and statements are then in place
IDLE_SECONDS = 2
RATE = 500.0
CONNECTIONS = 200
PATIENCE_SECONDS = 10.0
P99_MS_MAX = 10.0
TIMES_MAX = 1.2
EVICTION_SECONDS_MAX = 120.0


class MillionSkus(FigureRow):
    """First uses of cold skus, and the memory of Redis."""

    name = "million_skus"
    title = "Catalogue"
    by_default = False

    def measure(self) -> list[Figure]:
        """The figures. Raises ServerFailure where a hold is missing, or Redis keeps other skus than those that are sold."""
        is_quick = self.stage.arguments.is_quick
        skus, hot = (SKUS_QUICK, HOT_QUICK) if is_quick else (SKUS, HOT)
        figures, bytes_of = [], {}
        for count in (hot, skus):
            gateway = self.stage.fresh_gateway(f"skus_{count}", GATEWAY_HOT__IDLE_TTL_SECONDS=str(IDLE_SECONDS))
            with Redis.from_url(gateway.redis.url) as redis:
                fill(gateway, redis, count)
                self._sell(gateway, WARM_PREFIX, WARM_SKUS)
                cold_bytes = steady_bytes(redis)
                first = self._sell(gateway, PREFIX, hot)
                bytes_of[count] = steady_bytes(redis)
                in_redis = skus_in(redis, PREFIX)
            if in_redis != hot:
                raise ServerFailure(f"million_skus: Redis has {in_redis} skus, but {hot} were sold")
            if (held := wide.held(gateway.client, PREFIX, hot)) != hot:
                raise ServerFailure(f"million_skus: {held} held after {hot} reserves")
            gateway.stop()
            what = f"{self.title} of {count:,} skus"
            figures += [
                Figure(f"{what}: first use of a cold one, p50", first.p50_ms, "ms"),
                Figure(f"{what}: first use of a cold one, p99", first.p99_ms, "ms", P99_MS_MAX),
                Figure(f"{what}: Redis, none of them hot", cold_bytes / 1024, "KiB"),
                Figure(f"{what}: Redis, {hot:,} hot, each with a hold", bytes_of[count] / 1024, "KiB"),
            ]
        times = bytes_of[skus] / bytes_of[hot]
        figures.append(Figure(f"{self.title}: Redis' memory with {skus:,} skus", times, f"x {hot:,} skus", TIMES_MAX))
        return figures

    def _sell(self, gateway: GatewayServer, prefix: str, hot: int) -> Sample:
        """Each of so many skus is reserved once; they were cold. Raises ServerFailure where one was refused or lost."""
        request = wide.request(gateway.port, prefix, hot)
        seconds = hot / RATE
        job = Job(request.port, request.path, request.body, RATE, seconds, CONNECTIONS, PATIENCE_SECONDS, skus=hot)
        storm = play(job, 1)
        played = sample_of(storm, seconds)
        if played.wrong or played.done != hot:
            told = f"{played.wrong} wrong, {storm.unsent} not sent"
            raise ServerFailure(f"million_skus: of {hot} reserves {played.done} were answered, {told}")
        return played


def fill(gateway: GatewayServer, redis: Redis, skus: int) -> None:
    """So many skus are in the durable store, and none in Redis. Raises ServerFailure."""
    began_s = time.monotonic()
    with ThreadPoolExecutor(IMPORTS) as threads:
        parts = [
            threads.submit(wide.stock, gateway.client, PREFIX, min(IMPORT, skus - first), first)
            for first in range(0, skus, IMPORT)
        ]
        for part in parts:
            part.result()
    wide.stock(gateway.client, WARM_PREFIX, WARM_SKUS)
    say_to_terminal(f"imported {skus:,} skus in {time.monotonic() - began_s:.0f} s")
    gateway.client.drain()
    deadline_s = time.monotonic() + EVICTION_SECONDS_MAX
    while left := skus_in(redis, PREFIX) + skus_in(redis, WARM_PREFIX):
        if time.monotonic() > deadline_s:
            raise ServerFailure(f"million_skus: Redis still has {left} skus that nobody uses")
        time.sleep(0.5)


def skus_in(redis: Redis, prefix: str) -> int:
    """The skus of this prefix that Redis has."""
    pattern = scripts.place_of(redis).keys.sku(scripts.SHOP, f"{prefix}*")
    return sum(1 for _ in redis.scan_iter(match=pattern, count=10_000))
