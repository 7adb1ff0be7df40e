"""What a Redis URL says."""

from __future__ import annotations

import ssl

import pytest

from gateway.hot.address import parse_address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", ("localhost", 6379, "", None, None, 0, False)),
        ("redis://h:7000/2", ("h", 7000, "", None, None, 2, False)),
        ("redis://:p%40ss@h", ("h", 6379, "", None, "p@ss", 0, False)),
        ("redis://u:p@[::1]:6380", ("::1", 6380, "", "u", "p", 0, False)),
        ("rediss://u:p@h/1", ("h", 6379, "", "u", "p", 1, True)),
        ("unix:///run/r.sock", ("localhost", 6379, "/run/r.sock", None, None, 0, False)),
        ("unix://u:p@/run/r.sock?db=4", ("localhost", 6379, "/run/r.sock", "u", "p", 4, False)),
    ],
)
def test_address_of_a_url(url: str, expected: tuple[object, ...]) -> None:
    """Host, port, path, login, database and whether it is TLS."""
    a = parse_address(url)

    assert (a.host, a.port, a.path, a.username, a.password, a.database, a.is_tls) == expected
    assert (a.ssl is not None) == a.is_tls


def test_address_tls_verifies_by_default() -> None:
    """Without a word about it the certificate and the name are verified."""
    context = parse_address("rediss://h").ssl

    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("url", ["http://h", "h:6379", "", "redis+sentinel://h/m", "redis+cluster://h"])
def test_address_scheme_that_is_not_spoken(url: str) -> None:
    """Another scheme is refused in words that name those there are."""
    with pytest.raises(ValueError, match="redis"):
        parse_address(url)


@pytest.mark.parametrize(
    "url", ["redis://u:hunter2@h:port", "redis://u:hunter2@h:99999", "redis://u:hunter2@h?db=x", "http://u:hunter2@h"]
)
def test_address_error_never_shows_the_password(url: str) -> None:
    """A URL that can not be read is refused, and the message does not repeat it."""
    with pytest.raises(ValueError, match=r".*") as problem:
        parse_address(url)

    assert "hunter2" not in str(problem.value)


def test_address_text_never_shows_the_login() -> None:
    """An address in a log line tells the place alone."""
    for url in ("redis://u:hunter2@h:1/2", "rediss://u:hunter2@h:1", "unix://u:hunter2@/r.sock"):
        assert "hunter2" not in f"{parse_address(url)} {parse_address(url)!r}"


def test_address_database_that_is_no_number() -> None:
    """A database that can not be read is refused; it must not become database 0."""
    with pytest.raises(ValueError, match=r".*"):
        parse_address("redis://h/x")
