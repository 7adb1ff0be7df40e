"""What settings that are valid one by one still can not be served with: found before anything is started or written."""

from __future__ import annotations

import ipaddress

from gateway.app.role import Role
from gateway.hot.address import parse_address
from gateway.settings import Settings


class StartRefused(Exception):
    """The gateway can not work with what it was given. The message is one line with the mend."""


def judge(settings: Settings, role: Role = "all") -> None:
    """Pass. Raises StartRefused."""
    if role != "all" and not (settings.redis_url.get_secret_value() and settings.database_url.get_secret_value()):
        raise StartRefused(
            f"the role {role} shares its stores with other processes: set GATEWAY_REDIS_URL and GATEWAY_DATABASE_URL"
        )
    if role == "all" and settings.workers > 1 and settings.port == 0:
        raise StartRefused("several workers share one port: set GATEWAY_PORT to another number than 0")
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
