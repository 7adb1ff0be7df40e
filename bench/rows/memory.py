"""memory: bytes of Redis per open reservation of one line without an idempotency key, the log not counted.

On a gateway of its own with an empty Redis: holds of one hot sku are opened, the log is flushed, and the
growth of `used_memory` is divided by the number of holds. Taken off both sides are the streams (their own
`MEMORY USAGE` with SAMPLES 0, so all of them) and the buffers of connections, which Redis grows and shrinks
as it likes: with 64 connections they are over a megabyte, as much as some thousand holds. Whatever a hold
needs is in it: its key, its place in the indexes, Redis' table of keys.
"""

from __future__ import annotations

from redis import Redis

from bench.failure import ServerFailure
from bench.gateway_server import GatewayServer
from bench.redis_bytes import steady_bytes
from bench.row import Figure, FigureRow

SKU = "MEMORY"
ON_HAND = 1_000_000_000
COUNTS = (20_000, 100_000)
COUNTS_QUICK = (2_000, 10_000)
BYTES_MAX = 350.0
# Holds that are opened before the first reading: scripts, buffers and first pages are then in place on both
# sides.
WARM_COUNT = 200


class Memory(FigureRow):
    """Bytes per open hold, at two sizes."""

    name = "memory"
    title = "Redis memory per open hold"

    def measure(self) -> list[Figure]:
        """The bytes per hold at each count of open holds.

        Raises:
            ServerFailure: the level does not hold what was opened, or the memory did not come to rest.
        """
        gateway = self.stage.fresh_gateway("memory")
        gateway.client.stock(SKU, ON_HAND)
        counts = COUNTS_QUICK if self.stage.arguments.is_quick else COUNTS
        figures = []
        with Redis.from_url(gateway.redis.url) as redis:
            self._open(gateway, WARM_COUNT)
            empty_bytes = steady_bytes(redis)
            is_open = 0
            for count in counts:
                self._open(gateway, count - is_open)
                is_open = count
                held = gateway.client.level(SKU)["held"]
                if held != WARM_COUNT + count:
                    raise ServerFailure(f"memory: {held} held after {WARM_COUNT} + {count} holds were opened")
                value = (steady_bytes(redis) - empty_bytes) / count
                figures.append(Figure(f"{self.title}, {count:,} open", value, "bytes", BYTES_MAX))
        gateway.stop()
        return figures

    def _open(self, gateway: GatewayServer, count: int) -> None:
        """So many more holds are open, and the log is flushed."""
        statuses = self.stage.exact.count(gateway.client.reserve(SKU, "memory"), count)
        if statuses != {"201": count}:
            raise ServerFailure(f"memory: {count} reserves were answered {statuses}")
        gateway.client.drain()
