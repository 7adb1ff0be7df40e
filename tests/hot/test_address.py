"""What a Redis URL says."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from gateway.hot.address import SENTINELS_MAX, parse_address


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


@pytest.mark.parametrize("url", ["http://h", "h:6379", "", "redis+cluster://h"])
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


def test_address_of_sentinels() -> None:
    """Service, database and the login of Redis; each sentinel with its place and the login of sentinels."""
    a = parse_address(
        "redis+sentinel://shop:p%40ss+1@One:1,two,[::1]:3/my-service.1/2?sentinel_username=watch&sentinel_password=s%26t+"
    )

    assert (a.service, a.database, a.username, a.password, a.is_tls) == ("my-service.1", 2, "shop", "p@ss+1", False)
    assert [one.place for one in a.sentinels] == ["one:1", "two:26379", "[::1]:3"]
    assert {(one.username, one.password, one.is_tls) for one in a.sentinels} == {("watch", "s&t+", False)}


def test_address_of_sentinels_without_a_login() -> None:
    """Nobody is logged in where the URL has no login; the login of Redis is not shown to the sentinels."""
    bare, named = parse_address("redis+sentinel://h/m"), parse_address("redis+sentinel://:pw@h/m/")

    assert (bare.username, bare.password, bare.database) == (None, None, 0)
    assert (named.username, named.password, named.database) == (None, "pw", 0)
    assert {(one.username, one.password) for one in (*bare.sentinels, *named.sentinels)} == {(None, None)}


def test_address_of_sentinels_with_tls() -> None:
    """`ssl=true` is TLS to the sentinels and to Redis, verified unless the URL says otherwise."""
    strict, loose = (parse_address(f"redis+sentinel://h/m?ssl=true{more}") for more in ("", "&ssl_cert_reqs=none"))

    for address, mode in ((strict, ssl.CERT_REQUIRED), (loose, ssl.CERT_NONE)):
        for one in (address, *address.sentinels):
            assert one.is_tls
            assert one.ssl is not None
            assert one.ssl.verify_mode == mode


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("u:hunter2@h", "service"),
        ("u:hunter2@h/", "service"),
        ("u:hunter2@h/a service", "service"),
        ("u:hunter2@h/m/x", "number behind the service"),
        ("hunter2@h/m", "without a colon"),
        ("u:hunter2@/m", "sentinel 1 "),
        ("u:hunter2@h,,i/m", "sentinel 2 "),
        ("u:hunter2@h:0/m", "sentinel 1 "),
        ("u:hunter2@h:65536/m", "sentinel 1 "),
        ("u:hunter2@h,::1/m", "sentinel 2 "),
        ("u:hunter2@h,i,H:26379/m", "twice"),
        ("u:hunter2@h/m?sentinel_passwort=hunter2", "parameter"),
        ("h/m?sentinel_password=hunter2&sentinel_password=hunter2", "parameter twice"),
        ("h/m?sentinel_username=hunter2", "without a sentinel_password"),
        ("u:hunter2@h/m?ssl=yes", "ssl=true"),
        ("u:hunter2@h/m?ssl_cert_reqs=none", "need ssl=true"),
        ("u:hunter2@" + ",".join(f"h{n}" for n in range(SENTINELS_MAX + 1)) + "/m", "the most"),
        ("u:hunt/er2@h/m", "service|sentinel|number"),
    ],
)
def test_address_of_sentinels_that_is_wrong(url: str, message: str) -> None:
    """What is missing or not known is told, without a word of the URL that may be the password."""
    with pytest.raises(ValueError, match=message) as problem:
        parse_address(f"redis+sentinel://{url}")

    assert "hunter2" not in str(problem.value)
    assert "er2" not in str(problem.value)


def test_address_text_of_sentinels_never_shows_a_login() -> None:
    """The places and the service are told, no user and no password."""
    address = parse_address("redis+sentinel://u:hunter2@a,b:2/m/1?sentinel_username=w&sentinel_password=hunter3")

    assert str(address) == "redis+sentinel://a:26379,b:2/m"
    assert [str(one) for one in address.sentinels] == ["redis://a:26379", "redis://b:2"]
    assert "hunter" not in f"{address!r} {address.sentinels!r}"


@pytest.mark.parametrize("url", ["rediss://u:hunter2@h?", "redis+sentinel://u:hunter2@h/m?ssl=true&"])
@pytest.mark.parametrize("parameter", ["ssl_ca_certs", "ssl_certfile"])
def test_address_certificate_that_can_not_be_used(url: str, parameter: str, tmp_path: Path) -> None:
    """A file that is not there, or is no certificate, is told before anything connects."""
    (tmp_path / "text").write_text("no certificate")
    for name in ("missing", "text"):
        with pytest.raises(ValueError, match="certificate or key") as problem:
            parse_address(f"{url}{parameter}={tmp_path / name}")
        assert "hunter2" not in str(problem.value)
