"""The hot store of a run: two Redis servers, one of them the primary, and how gateways find it: by one address, or by sentinels."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from tests.simulation.network import Connection
from tests.simulation.server import RedisServer
from tests.simulation.session import RedisSession, SentinelSession

if TYPE_CHECKING:
    from tests.simulation.world import World

SERVICE: Final = ("redis", 6379)
SENTINELS: Final = (("s0", 26379), ("s1", 26379), ("s2", 26379))
#: Some events that tell totals in each run; between two of them some batches.
TOTALS_EVERY: Final = 16


class Sentinel:
    """One sentinel, and whom it names."""

    is_up = True

    def __init__(self, named: tuple[str, int]) -> None:
        self.named = named

    def accept(self, connection: Connection) -> SentinelSession:
        """Somebody has connected."""
        return SentinelSession(self, connection)


class Service:
    """One address that leads to whichever server it is pointed at: a name in DNS, a proxy, a floating address."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    @property
    def is_up(self) -> bool:
        """Whether the server behind it is there."""
        return self.server.is_up

    def accept(self, connection: Connection) -> RedisSession:
        """Somebody has connected."""
        connection.place = self.server.place
        return self.server.accept(connection)


class HotStore:
    """Servers `r0` and `r1`."""

    def __init__(self, world: World, *, has_sentinels: bool) -> None:
        self.has_sentinels = has_sentinels
        network = world.network
        dice = random.Random(f"{world.seed}-servers")
        self.servers = [RedisServer((name, 6379), world.loop, dice, world.observe) for name in ("r0", "r1")]
        self.primary = self.servers[0]
        for server in self.servers:
            server.totals_every = TOTALS_EVERY
        self.servers[1].replicate(self.primary)
        for server in self.servers:
            network.listeners[server.place] = server
        self.service = Service(self.primary)
        network.listeners[SERVICE] = self.service
        self.sentinels = [Sentinel(self.primary.place) for _ in SENTINELS]
        for place, sentinel in zip(SENTINELS, self.sentinels, strict=True):
            network.listeners[place] = sentinel
        places = ",".join(f"{host}:{port}" for host, port in SENTINELS)
        self.url = f"redis+sentinel://{places}/shop" if has_sentinels else f"redis://{SERVICE[0]}:{SERVICE[1]}"

    @property
    def other(self) -> RedisServer:
        """The server that is not the primary."""
        return self.servers[1] if self.primary is self.servers[0] else self.servers[0]

    def fail_over(self, told: int) -> int:
        """The other server is the primary; the first `told` sentinels know it. How many effects it never got."""
        promoted = self.other
        missed = promoted.promote()
        self.primary = promoted
        self.service.server = promoted
        for sentinel in self.sentinels[:told]:
            sentinel.named = promoted.place
        return missed

    def tell_sentinels(self) -> None:
        """All name the primary."""
        for sentinel in self.sentinels:
            sentinel.named = self.primary.place
