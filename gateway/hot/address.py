"""Where a Redis is: what a redis://, rediss:// or unix:// URL says."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.connection import parse_url

SCHEMES = ("redis", "rediss", "unix")
LATER = ("redis+sentinel", "redis+cluster")


@dataclass(frozen=True, slots=True)
class Address:
    """A server's place and the login; the password never shows in its text."""

    host: str
    port: int
    path: str
    username: str | None
    password: str | None
    database: int
    is_tls: bool
    ssl: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return (
            f"unix://{self.path}" if self.path else f"{'rediss' if self.is_tls else 'redis'}://{self.host}:{self.port}"
        )

    __repr__ = __str__


def parse_address(url: str) -> Address:
    """The address in the URL. TLS options: `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs=none` (for a test server).

    Raises:
        ValueError: the scheme is not one of redis, rediss, unix, or the URL is malformed; the message never holds the
        password.
    """
    scheme = url.split(":", 1)[0]
    if scheme in LATER:
        raise ValueError(
            f"{scheme}:// is not in 0.1.0: give the primary's own address as redis://, rediss:// or unix://"
        )
    if scheme not in SCHEMES:
        raise ValueError(f"redis_url begins with {scheme!r}; use one of {', '.join(f'{s}://' for s in SCHEMES)}")
    try:
        parts: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]  # the library has no types here
    except (ValueError, TypeError) as problem:
        raise ValueError("redis_url is not a URL that can be read") from problem
    if scheme != "unix" and not re.fullmatch(r"/?|/[0-9]+", urlsplit(url).path):
        raise ValueError("redis_url names its database as a number behind the port: redis://host:6379/0")
    is_tls = scheme == "rediss"
    return Address(
        host=parts.get("host") or "localhost",
        port=int(parts.get("port") or 6379),
        path=parts.get("path") or "",
        username=parts.get("username"),
        password=parts.get("password"),
        database=int(parts.get("db") or 0),
        is_tls=is_tls,
        ssl=_context(parts) if is_tls else None,
    )


def _context(parts: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=parts.get("ssl_ca_certs"))
    if parts.get("ssl_certfile"):
        context.load_cert_chain(parts["ssl_certfile"], parts.get("ssl_keyfile"))
    if str(parts.get("ssl_cert_reqs", "")).lower() == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
