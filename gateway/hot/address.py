"""Where a Redis is: what a redis://, rediss://, unix:// or redis+sentinel:// URL says."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.connection import parse_url

SENTINEL_SCHEME = "redis+sentinel"
SCHEMES = ("redis", "rediss", "unix", SENTINEL_SCHEME)
LATER = ("redis+cluster",)
SENTINEL_PORT = 26379
SENTINELS_MAX = 15  # each is asked every second; three or five is what people run
SENTINEL_FORM = "redis+sentinel://[user:password@]host1:26379,host2:26379,host3:26379/service-name[/db]"

_TLS_PARAMETERS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
_SENTINEL_PARAMETERS = ("sentinel_username", "sentinel_password", "ssl", *_TLS_PARAMETERS)
_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/?#,\s]+))(?::([0-9]{1,5}))?")
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")  # the names that a Sentinel takes


@dataclass(frozen=True, slots=True)
class Address:
    """A server's place and the login; the password never shows in its text.

    With `sentinels`, the place is not known yet: they name it for the `service`. Each is an address with a login of its own.
    """

    host: str
    port: int
    path: str
    username: str | None
    password: str | None
    database: int
    is_tls: bool
    ssl: ssl.SSLContext | None = None
    sentinels: tuple[Address, ...] = ()
    service: str = ""

    @property
    def place(self) -> str:
        """Host and port, as they are written in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        if self.sentinels:
            return f"{SENTINEL_SCHEME}://{','.join(one.place for one in self.sentinels)}/{self.service}"
        return f"unix://{self.path}" if self.path else f"{'rediss' if self.is_tls else 'redis'}://{self.place}"

    __repr__ = __str__


def parse_address(url: str) -> Address:
    """The address in the URL.

    TLS options: `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs=none` (for a test server); with Sentinel also
    `ssl=true`, which is TLS to the sentinels and to Redis, and the sentinels' own login `sentinel_username`,
    `sentinel_password`.

    Raises:
        ValueError: the scheme is not one that is spoken, or the URL is malformed; the message never holds the password.
    """
    scheme = url.split(":", 1)[0]
    if scheme in LATER:
        raise ValueError(f"{scheme}:// is not in 0.1.0: use one of {_spoken()}")
    if scheme not in SCHEMES:
        raise ValueError(f"redis_url begins with {scheme!r}; use one of {_spoken()}")
    if scheme == SENTINEL_SCHEME:
        return _parse_sentinel(url)
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


def _spoken() -> str:
    return ", ".join(f"{scheme}://" for scheme in SCHEMES)


def _parse_sentinel(url: str) -> Address:
    """Taken apart by hand: the library reads one host only. No message repeats a part, since a wrong one may be the password."""
    head, _, query = url.removeprefix(f"{SENTINEL_SCHEME}://").partition("?")
    authority, _, path = head.partition("/")
    login, has_login, places = authority.rpartition("@")
    user, has_password, password = login.partition(":")
    service, _, database = path.removesuffix("/").partition("/")
    if not _SERVICE.fullmatch(service):
        raise ValueError(f"redis_url does not name the service that the sentinels watch: {SENTINEL_FORM}")
    if not re.fullmatch(r"[0-9]*", database):
        raise ValueError(f"redis_url names its database as a number behind the service: {SENTINEL_FORM}")
    if has_login and not has_password:
        raise ValueError(f"redis_url has a login without a colon: {SENTINEL_FORM}")
    options = _sentinel_options(query)
    is_tls = options.get("ssl", "false") == "true"
    context = _context(options) if is_tls else None
    return Address(
        host="",
        port=0,
        path="",
        username=unquote(user) or None,
        password=unquote(password) if has_password else None,
        database=int(database or 0),
        is_tls=is_tls,
        ssl=context,
        sentinels=_sentinels(places, options, context),
        service=service,
    )


def _sentinel_options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name not in _SENTINEL_PARAMETERS or name in options:
            raise ValueError(
                f"redis_url has a parameter twice, or one that is none of {', '.join(_SENTINEL_PARAMETERS)}"
            )
        options[name] = unquote(value)
    if options.get("ssl", "false") not in ("true", "false"):
        raise ValueError("redis_url says ssl=true or ssl=false")
    if options.get("ssl") != "true" and any(name in options for name in _TLS_PARAMETERS):
        raise ValueError("redis_url has parameters of TLS, which need ssl=true beside them")
    if "sentinel_username" in options and "sentinel_password" not in options:
        raise ValueError("redis_url has a sentinel_username without a sentinel_password")
    return options


def _sentinels(text: str, options: Mapping[str, str], context: ssl.SSLContext | None) -> tuple[Address, ...]:
    found: dict[str, Address] = {}
    texts = text.split(",")
    for number, one in enumerate(texts, 1):
        told = _PLACE.fullmatch(one)
        port = int(told[3] or SENTINEL_PORT) if told else 0
        if told is None or not 1 <= port <= 65_535:
            raise ValueError(f"sentinel {number} in redis_url is no host or host:port: {SENTINEL_FORM}")
        sentinel = Address(
            host=(told[1] or told[2]).lower(),
            port=port,
            path="",
            username=options.get("sentinel_username"),
            password=options.get("sentinel_password"),
            database=0,
            is_tls=context is not None,
            ssl=context,
        )
        found[sentinel.place] = sentinel
    if len(found) < len(texts):
        raise ValueError("redis_url lists a sentinel twice; the majority is counted over different ones")
    if len(found) > SENTINELS_MAX:
        raise ValueError(f"redis_url lists {len(found)} sentinels; {SENTINELS_MAX} is the most")
    return tuple(found.values())


def _context(parts: Mapping[str, Any]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=parts.get("ssl_ca_certs"))
        if parts.get("ssl_certfile"):
            context.load_cert_chain(parts["ssl_certfile"], parts.get("ssl_keyfile"))
    except OSError as problem:
        raise ValueError(f"a certificate or key that redis_url names can not be used: {problem.strerror}") from problem
    if str(parts.get("ssl_cert_reqs", "")).lower() == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
