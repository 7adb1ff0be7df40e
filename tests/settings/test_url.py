from __future__ import annotations

import pytest

from gateway.settings import redacted
from gateway.settings.url import secrets_of


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://app:pw@h:6379/0", "redis://app:***@h:6379/0"),
        ("rediss://:pw@h", "rediss://:***@h"),
        ("redis://pw@h", "redis://***@h"),
        ("redis://:p@w/x?y#z@h:1", "redis://:***@h:1"),
        ("unix:///run/a@b.sock", "unix:///run/a@b.sock"),
        ("unix://app:pw@/run/redis.sock?db=1", "unix://app:***@/run/redis.sock?db=1"),
        ("sqlite:////var/lib/a@b.db", "sqlite:////var/lib/a@b.db"),
        ("postgresql://u:pw@h:5432/d?sslmode=require", "postgresql://u:***@h:5432/d?sslmode=require"),
        ("postgresql://h/d?user=u&password=pw&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        (
            "redis+sentinel://u:pw@a:1,b:2/m?sentinel_password=pw",
            "redis+sentinel://u:***@a:1,b:2/m?sentinel_password=***",
        ),
        ("pw", "***"),
    ],
)
def test_redacted_hides_the_password_and_keeps_the_host(url: str, shown: str) -> None:
    """What is left names the server and nothing that opens it."""
    assert redacted(url) == shown


def test_secrets_of_an_address_are_its_passwords_as_written_and_decoded() -> None:
    """A library may repeat a password in either form."""
    assert secrets_of("redis://u:a%20b@h?sentinel_password=c") == {"a%20b", "a b", "c"}
    assert secrets_of("unix:///run/a@b.sock") == set()
    assert secrets_of("bare") == {"bare"}
    assert secrets_of("") == set()
