"""The memory that Redis takes for what a gateway keeps there, without the log and without connections."""

from __future__ import annotations

import time

from redis import Redis

from bench.failure import ServerFailure

STEADY_BYTES = 4096
STEADY_READINGS = 4
READING_SECONDS = 0.5
STEADY_SECONDS_MAX = 60.0


def steady_bytes(redis: Redis) -> int:
    """Bytes used, streams and connections apart, once they have stopped moving.

    After a load the log is still trimmed, the append-only file written out, and Redis counts the buffers of
    its connections only some times a second. Raises ServerFailure when it does not come to rest.
    """
    deadline = time.monotonic() + STEADY_SECONDS_MAX
    readings: list[int] = []
    while True:
        readings = [*readings, _bytes_of_state(redis)][-STEADY_READINGS:]
        if len(readings) == STEADY_READINGS and max(readings) - min(readings) <= STEADY_BYTES:
            return readings[-1]
        if time.monotonic() > deadline:
            raise ServerFailure(f"used_memory does not come to rest: {readings}")
        time.sleep(READING_SECONDS)


def _bytes_of_state(redis: Redis) -> int:
    streams = sum(redis.memory_usage(key, samples=0) or 0 for key in redis.scan_iter(count=10_000, _type="stream"))
    told = redis.info("memory")
    return int(told["used_memory"]) - int(told["mem_clients_normal"]) - streams
