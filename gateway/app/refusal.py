"""What settings that are valid one by one still can not be served with: found before anything is started or written."""

from __future__ import annotations

import ipaddress

from gateway.hot.address import parse_address
from gateway.settings import Settings


class StartRefused(Exception):
    """The gateway can not work with what it was given. The message is one line with the mend."""


def judge(settings: Settings) -> None:
    """Pass. Raises StartRefused."""
    if not settings.bootstrap_key.get_secret_value() and not is_loopback(settings.host):
        raise StartRefused(
            f"host {settings.host} can be reached from outside and no key is configured: set GATEWAY_BOOTSTRAP_KEY, "
            "or GATEWAY_HOST=127.0.0.1"
        )
    redis_url = settings.redis_url.get_secret_value()
    if redis_url:
        try:
            parse_address(redis_url)
        except ValueError as problem:
            raise StartRefused(str(problem)) from problem


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
