"""Two Redis servers, one the replica of the other, and three sentinels that watch them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

import redis

from gateway.embedded import PrivateRedis
from gateway.embedded.address import free_port
from gateway.embedded.child import end_child, start_child
from tests.faults.way import Way, way_to

SERVICE: Final = "shop"
LOOPBACK: Final = "127.0.0.1"
SENTINELS: Final = 3
MAJORITY: Final = SENTINELS // 2 + 1
SENTINEL_PASSWORD: Final = "of-the-sentinels"
DOWN_AFTER_SECONDS: Final = 1.0
#: A replica that follows by a way of ours is left alone for as long: then the sentinels would tell it to go straight.
FAILOVER_SECONDS_MAX: Final = 60.0
META: Final = "{rg0}:meta"


class Replicated:
    """Both servers and the sentinels. `primary` is the one that the test takes for it; what the sentinels say is `named`."""

    def __init__(
        self, folder: Path, binary: Path, *, hosts: tuple[str, str] = (LOOPBACK, LOOPBACK), far: Path | None = None
    ) -> None:
        """Nothing runs yet. `hosts` are the addresses of the two, the sentinels are where the second is; `far` starts the first.

        Only on one host does the replica follow by a way of its own.
        """
        self._folder = folder
        self._binary = binary
        self._host = hosts[1]
        self.ports: dict[PrivateRedis, int] = {}
        self.hosts: dict[PrivateRedis, str] = {}
        for name, host, command in zip(("a", "b"), hosts, (far or binary, binary), strict=True):
            port = free_port()
            settings = {"port": str(port), "appendfsync": "always", "repl-diskless-sync-delay": "0"}
            if host != LOOPBACK:
                settings |= {"bind": f"{LOOPBACK} {host}", "protected-mode": "no"}
            server = PrivateRedis(folder / name, command, settings)
            self.ports[server], self.hosts[server] = port, host
        self.primary, self.replica = self.ports
        self.sentinel_ports = [free_port() for _ in range(SENTINELS)]
        self._sentinels: list[Popen[bytes]] = []
        self._ways: dict[PrivateRedis, Way] = {}
        self._options = {
            "down-after-milliseconds": f"{DOWN_AFTER_SECONDS * 1000:.0f}",
            "failover-timeout": f"{FAILOVER_SECONDS_MAX * 1000:.0f}",
        }

    @property
    def url(self) -> str:
        """What a gateway is given."""
        return self.url_by(self.sentinel_ports)

    def url_by(self, ports: list[int]) -> str:
        """The same by other ways to the sentinels."""
        places = ",".join(f"{self._host}:{port}" for port in ports)
        return f"redis+sentinel://{places}/{SERVICE}?sentinel_password={SENTINEL_PASSWORD}"

    @property
    def way(self) -> Way:
        """By which the replica hears of the primary."""
        return self._ways[self.primary]

    def start_servers(self) -> None:
        """Both run, nobody follows yet. Main thread only."""
        for server in self.ports:
            server.start()

    def stop(self) -> None:
        """Nothing of it runs."""
        for sentinel in self._sentinels:
            end_child(sentinel, [(signal.SIGTERM, 5.0)])
        for server in self.ports:
            if server.pid is not None:
                os.kill(server.pid, signal.SIGCONT)
            server.stop()

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Inside, the replica follows by a way of its own, and nobody watches."""
        async with AsyncExitStack() as stack:
            for server, port in self.ports.items():
                if self.hosts[server] == LOOPBACK:
                    self._ways[server] = await stack.enter_async_context(way_to(port))
            await self.follow()
            yield

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """As `followed`, and the sentinels know all there is."""
        async with self.followed():
            for number, port in enumerate(self.sentinel_ports):
                self._sentinels.append(self._start_sentinel(number, port))
            await until(self._is_known, 30)
            yield

    async def follow(self) -> None:
        """The replica follows the primary, by the way that can be held, and has all of it."""
        host, port = self.hosts[self.primary], self.ports[self.primary]
        if self._ways:
            self.way.let_go()
            port = self.way.port
        with client_of(self.replica) as client:
            client.replicaof(host, port)
            await until(lambda: is_synced(client), 30)

    async def lag(self, rng: random.Random) -> None:
        """The replica has missed what happened in a random time, which may be nothing."""
        if rng.random() < 0.8:
            self.way.hold()
            await asyncio.sleep(rng.uniform(0.01, 0.4))
        print(f"the replica is {seq_of(self.primary) - seq_of(self.replica)} events behind")

    def promote(self) -> None:
        """By hand: the replica is a primary, with what it has. Nobody else has been told, and the old one is one still."""
        with client_of(self.replica) as client:
            client.replicaof("NO", "ONE")

    def tell_sentinels(self) -> None:
        """By hand: each sentinel forgets what it knew, and watches the server that is the primary for the test."""
        for port in self.sentinel_ports:
            self._ask(port, "REMOVE", SERVICE)
            self._ask(port, "MONITOR", SERVICE, self.hosts[self.primary], str(self.ports[self.primary]), str(MAJORITY))
            for option, value in self._options.items():
                self._ask(port, "SET", SERVICE, option, value)

    def turn(self) -> None:
        """Who was the replica is the primary from now on, for the test."""
        self.primary, self.replica = self.replica, self.primary

    async def promoted(self) -> None:
        """All sentinels name the replica; from now on it is the primary."""
        await until(lambda: set(self.named()) == {self.ports[self.replica]}, 30)
        self.turn()

    def named(self) -> list[int]:
        """The port that each sentinel names."""
        return [int(self._ask(port, "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]) for port in self.sentinel_ports]

    async def order_failover(self) -> None:
        """A sentinel has begun one by hand; it refuses as long as it has not heard from the replica as such."""

        def is_begun() -> bool:
            try:
                self._ask(self.sentinel_ports[0], "FAILOVER", SERVICE)
            except redis.ResponseError as problem:
                if str(problem).startswith(("NOGOODSLAVE", "INPROG")):
                    return False
                raise
            return True

        await until(is_begun, 40, pause_s=0.2)

    def _is_known(self) -> bool:
        """Whether each sentinel knows the replica and the others."""
        for port in self.sentinel_ports:
            try:
                told = self._ask(port, "MASTER", SERVICE)
            except redis.ConnectionError:
                return False
            fields = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
            if (int(fields["num-slaves"]), int(fields["num-other-sentinels"])) != (1, SENTINELS - 1):
                return False
        return True

    def _ask(self, port: int, *words: str) -> Any:
        with redis.Redis(
            host=self._host, port=port, password=SENTINEL_PASSWORD, decode_responses=True, socket_timeout=5, protocol=2
        ) as client:
            client.response_callbacks.clear()
            return client.execute_command("SENTINEL", *words)

    def _start_sentinel(self, number: int, port: int) -> Popen[bytes]:
        folder = self._folder / f"sentinel-{number}"
        folder.mkdir()
        lines = [
            f"port {port}",
            f"bind {self._host}",
            "daemonize no",
            'logfile ""',
            f"dir {folder}",
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            f"sentinel monitor {SERVICE} {self.hosts[self.primary]} {self.ports[self.primary]} {MAJORITY}",
            *(f"sentinel {option} {SERVICE} {value}" for option, value in self._options.items()),
        ]
        configuration = folder / "sentinel.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return start_child(
            [str(self._binary), str(configuration), "--sentinel"],
            folder=folder,
            log=folder / "log",
            death_signal=signal.SIGTERM,
        )


@contextmanager
def client_of(server: PrivateRedis) -> Any:
    """A client of its own, by the socket that no way leads over."""
    with redis.Redis.from_url(server.url, decode_responses=True, socket_timeout=5) as client:
        yield client


def is_synced(client: Any) -> bool:
    """Whether the replica has all that its primary has said."""
    told = client.info("replication")
    return told.get("role") == "slave" and told.get("master_link_status") == "up"


def seq_of(server: PrivateRedis) -> int:
    """The newest number in the shard's log of this server; 0 when it has no shard."""
    with client_of(server) as client:
        return int(client.hget(META, "seq") or 0)


def digests_after(server: PrivateRedis, seq: int) -> set[str]:
    """Those of the entries that its log has beyond a number."""
    with client_of(server) as client:
        log = f"{{rg0}}:{client.hget(META, 'gen')}:log"
        return {fields["d"] for _, fields in client.xrange(log, min=f"({seq}-0")}


def freeze(server: PrivateRedis) -> None:
    """SIGSTOP: it holds its connections and does nothing."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)


def thaw(server: PrivateRedis) -> None:
    """SIGCONT: it goes on where it was."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGCONT)


async def until(condition: Callable[[], bool], seconds: float, *, pause_s: float = 0.05) -> None:
    """It holds; servers tell nobody when they have come to it."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, f"{condition} did not come true in {seconds:.0f} s"
        await asyncio.sleep(pause_s)
