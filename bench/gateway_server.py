"""A real gateway: `gateway serve` as an operator starts it, on a Redis and a PostgreSQL of this run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from bench.client import GatewayClient
from bench.failure import ServerFailure
from bench.process import Server, own_environment
from gateway.embedded.address import free_port
from gateway.embedded.valkey import PrivateRedis

# A rewrite of the append-only file takes a whole processor for a second, in one round and not in another: it
# is put off. The file itself is written and synced each second, as in production.
REDIS_SETTINGS = {"auto-aof-rewrite-percentage": "0"}


class GatewayServer:
    """One worker with a private Redis of its own; the database is the caller's."""

    def __init__(
        self,
        folder: Path,
        redis_binary: Path,
        database_url: str,
        settings: Mapping[str, str] | None = None,
        *,
        is_alone: bool = True,
    ) -> None:
        """Nothing is touched before `start`. `settings` are variables of the gateway that go over ours.

        `is_alone` gives it the web worker's processor, and no other.
        """
        self._is_alone = is_alone
        self._settings = dict(settings or {})
        self.database_url = database_url
        self.redis = PrivateRedis(folder / "redis", redis_binary, settings=REDIS_SETTINGS)
        self.port = free_port()
        self.client = GatewayClient(self.port)
        self._folder = folder
        self._server: Server | None = None

    def start(self) -> None:
        """Redis and the gateway answer.

        Raises:
            ServerFailure: the gateway is not installed or did not get ready.
            gateway.embedded.ServerFailed: Redis did not.
        """
        executable = gateway_executable()
        self._folder.mkdir(parents=True, exist_ok=True)
        self.redis.start()
        self._server = Server(
            "gateway",
            [str(executable), "serve"],
            self._folder,
            port=self.port,
            ready_path="/readyz",
            environment=own_environment()
            | {
                "GATEWAY_REDIS_URL": self.redis.url,
                "GATEWAY_DATABASE_URL": self.database_url,
                "GATEWAY_PORT": str(self.port),
                "GATEWAY_DATA_DIR": str(self._folder / "data"),
                "GATEWAY_LOG__LEVEL": "warning",
            }
            | self._settings,
            is_alone=self._is_alone,
        )
        self._server.start()

    @property
    def pid(self) -> int:
        """The process of the gateway. Raises ServerFailure when it does not run."""
        if self._server is None or self._server.pid is None:
            raise ServerFailure("the gateway does not run")
        return self._server.pid

    def renew(self) -> None:
        """The gateway is another process on the same stores. Raises as `start` does."""
        if self._server is not None:
            self._server.renew()

    def restart_killed(self) -> None:
        """Kill -9, and at once it is started again; returns when it is ready. Raises as `start` does."""
        if self._server is not None:
            self._server.kill()
            self._server.start()

    def leave_redis(self) -> None:
        """The gateway has drained and ended; its Redis goes on, with the shard as it was. Safe to repeat."""
        if self._server is not None:
            self._server.stop()

    def stop(self) -> None:
        """The gateway has drained and ended, then Redis. Safe to repeat."""
        self.leave_redis()
        self.redis.stop()


def gateway_executable() -> Path:
    """The installed command of the environment that this runs in.

    Raises:
        ServerFailure: the project is not installed here.
    """
    executable = Path(sys.executable).parent / "gateway"
    if not executable.exists():
        raise ServerFailure(f"there is no {executable}: install the project first (make setup)")
    return executable
