"""drain: how fast the flusher takes a log into the durable store when nobody asks for anything.

Holds are made in Redis by the script of a group, as a web worker makes them, without a request; the gateway's flusher yields to
requests meanwhile and leaves most of it. From the last hold on the log is measured until it is empty, while one durable change waits
behind it, so the flusher does not rest.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from threading import Thread

from redis import Redis

from bench import scripts
from bench.database import fetch_number
from bench.failure import ServerFailure
from bench.quiet import wait_quiet
from bench.row import Figure, FigureRow
from bench.rows.hot import HELD

SKU = "DRAIN"
ON_HAND = 1_000_000_000
COUNT, COUNT_QUICK = 200_000, 30_000
RATE_MIN = 60_000.0
POLL_SECONDS = 0.01
DRAIN_SECONDS_MAX = 120.0
HELD_SQLITE = "SELECT coalesce(sum(held), 0) FROM levels WHERE sku = ?"


class Drain(FigureRow):
    """Events per second of the flusher alone."""

    name = "drain"
    title = "The flusher alone"

    def measure(self) -> list[Figure]:
        """The rates into both stores.

        Raises:
            ServerFailure: the log did not drain, or a store does not hold what was reserved.
        """
        file = self.stage.folder / "drain.db"
        return [self._into("PostgreSQL", None), self._into("SQLite", file)]

    def _into(self, store: str, file: Path | None) -> Figure:
        url = None if file is None else f"sqlite:///{file}"
        gateway = self.stage.fresh_gateway(f"drain_{store.lower()}", url)
        gateway.client.stock(SKU, ON_HAND)
        wait_quiet()
        count = COUNT_QUICK if self.stage.arguments.is_quick else COUNT
        with Redis.from_url(gateway.redis.url) as redis:
            scripts.hold(redis, count, lambda _: SKU)
            rate = drained_rate(redis, Thread(target=gateway.client.drain))
            in_redis = scripts.held(redis, SKU)
        durable = fetch_number(gateway.database_url, HELD, SKU) if file is None else _held_in(file)
        gateway.stop()
        if (in_redis, durable) != (count, count):
            raise ServerFailure(f"drain: of {count} holds {in_redis} are in Redis and {durable} in {store}")
        return Figure(f"{self.title}, into {store}", rate, "events per s", value_min=RATE_MIN)


def drained_rate(redis: Redis, waiting: Thread) -> float:
    """Events per second from now until the log is empty; `waiting` waits for its commit. Raises ServerFailure."""
    waiting.start()
    began_s, backlog = time.perf_counter(), scripts.backlog(redis)
    while scripts.backlog(redis):
        if time.perf_counter() - began_s > DRAIN_SECONDS_MAX:
            raise ServerFailure(
                f"drain: {scripts.backlog(redis)} of {backlog} events are left after {DRAIN_SECONDS_MAX} s"
            )
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - began_s
    waiting.join()
    return backlog / seconds


def _held_in(file: Path) -> int:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        (held,) = connection.execute(HELD_SQLITE, (SKU,)).fetchone()
    connection.close()
    return int(held)
