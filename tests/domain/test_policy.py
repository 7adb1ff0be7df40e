from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from gateway.domain.policy import Policy, PolicyBook, Tier
from gateway.settings import Settings, SettingsInvalid, load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    return path


def book_of(file: Path, environ: Mapping[str, str] | None = None) -> PolicyBook:
    """A book over a file, whose clock moves one second with each look at it."""
    ticks = iter(range(1_000_000_000_000, 2_000_000_000_000, 1_000))
    return PolicyBook(load(file, environ or {}), lambda: load(file, environ or {}), clock_ms=lambda: next(ticks))


def test_policy_of_the_defaults_has_the_four_tiers() -> None:
    """Cart five minutes, checkout thirty, payment fifteen, order a day."""
    policy = Policy.of(Settings())
    assert policy.tiers["cart"] == Tier("cart", 300, 1_800, 3_600)
    assert {name: tier.ttl_seconds for name, tier in policy.tiers.items()} == {
        "cart": 300,
        "checkout": 1_800,
        "payment": 900,
        "order": 86_400,
    }
    assert (policy.retention_seconds, policy.idle_ttl_seconds, policy.ended_ttl_seconds) == (
        86_400,
        3_600,
        600,
    )
    assert (policy.version, policy.source) == (1, "default file")


def test_policy_cannot_be_changed_in_place() -> None:
    """A request that holds a policy is judged by one policy from beginning to end."""
    policy = Policy.of(Settings())
    with pytest.raises(FrozenInstanceError):
        policy.version = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        policy.tiers["x"] = Tier("x", 1, 1, 1)  # type: ignore[index]


def test_reload_of_a_changed_file_swaps_the_policy_and_raises_the_version(file: Path) -> None:
    """New holds see the new policy; who held the old one keeps it."""
    book = book_of(file)
    before = book.current
    file.write_text("[tiers.cart]\nttl_seconds = 7\n[retention]\nseconds = 8\n[hot]\nidle_ttl_seconds = 9\n")
    reloaded = book.reload()
    assert reloaded.is_changed
    assert reloaded.ignored == []
    assert book.current is reloaded.policy
    assert (book.current.version, book.current.tiers["cart"].ttl_seconds) == (2, 7)
    assert (book.current.retention_seconds, book.current.idle_ttl_seconds) == (8, 9)
    assert book.current.source == f"{file}, default file"
    assert (before.version, before.tiers["cart"].ttl_seconds) == (1, 300)


def test_reload_of_an_unchanged_file_keeps_the_version(file: Path) -> None:
    """Also where the file now says what the defaults said: the policy is the same."""
    book = book_of(file)
    assert not book.reload().is_changed
    file.write_text("[tiers.cart]\nttl_seconds = 300\n")
    assert not book.reload().is_changed
    assert book.current.version == 1
    assert book.current.source == f"{file}, default file"


def test_reload_of_a_file_that_is_not_valid_keeps_everything(file: Path) -> None:
    """The whole file is taken or nothing of it, with all reasons, wherever in the file they stand."""
    book = book_of(file)
    before, shown = book.current, book.description()
    file.write_text("nope = 1\n[tiers.cart]\nttl_seconds = 7\n[http]\nrequests_max = 0\n")
    with pytest.raises(SettingsInvalid) as caught:
        book.reload()
    assert {key for key, _ in caught.value.errors} == {"nope", "http.requests_max"}
    assert book.current is before
    assert book.description() == shown
    file.unlink()
    with pytest.raises(SettingsInvalid):
        book.reload()
    assert book.current is before


def test_reload_tells_the_keys_that_need_a_restart_and_changes_the_rest(file: Path) -> None:
    """Keys outside the reloadable sections are named until the restart, and do not stop the reload."""
    book = book_of(file)
    secret = "redis://:hunter2@h"
    file.write_text(f"redis_url = '{secret}'\n[flush]\npoll_ms = 7\n[tiers.cart]\nttl_seconds = 7\n")
    first, second = book.reload(), book.reload()
    assert first.ignored == second.ignored == ["redis_url", "flush.poll_ms"]
    assert (first.is_changed, second.is_changed, book.current.version) == (True, False, 2)
    limits = book.description()["limits"]
    assert isinstance(limits, dict)
    assert limits["flush"]["poll_ms"] == 50
    sources = book.description()["sources"]
    assert isinstance(sources, dict)
    assert sources["flush.poll_ms"] == "default file"


def test_reload_counts_every_change_once(file: Path) -> None:
    """Back and forth is two changes: a version never means two policies."""
    book = book_of(file)
    for seconds in (7, 8, 7):
        file.write_text(f"[retention]\nseconds = {seconds}\n")
        book.reload()
    assert book.current.version == 4


def test_reload_adds_and_takes_away_a_tier(file: Path) -> None:
    """A tier of the operator comes and goes with the file; the ones that ship stay."""
    book = book_of(file)
    file.write_text("[tiers.vip]\nttl_seconds = 1\nttl_seconds_max = 2\nlifetime_seconds_max = 3\n")
    assert book.reload().policy.tiers["vip"] == Tier("vip", 1, 2, 3)
    file.write_text("")
    assert sorted(book.reload().policy.tiers) == ["cart", "checkout", "order", "payment"]


def test_description_shows_what_is_in_force_and_where_it_came_from(file: Path) -> None:
    """Tiers, limits and thresholds as JSON has them, each with its layer; the version; the time."""
    file.write_text("[tiers.cart]\nttl_seconds = 7\n[locations]\npriority = ['b', 'a']\n")
    book = book_of(
        file,
        {
            "GATEWAY_HOT__IDLE_TTL_SECONDS": "5",
            "GATEWAY_REDIS_URL": "redis://:hunter2@h",
            "GATEWAY_PORT": "1",
        },
    )
    text = json.dumps(book.description())
    shown = json.loads(text)
    assert shown["version"] == 1
    assert shown["source"] == f"environment, {file}, default file"
    assert shown["loaded_at"] == "2001-09-09T01:46:40.000Z"
    assert shown["tiers"]["cart"] == {"ttl_seconds": 7, "ttl_seconds_max": 1800, "lifetime_seconds_max": 3600}
    assert shown["retention"] == {"seconds": 86400}
    assert shown["hot"] == {"idle_ttl_seconds": 5, "ended_ttl_seconds": 600}
    assert shown["limits"]["http"]["body_bytes_max"] == 1_048_576
    assert shown["limits"]["locations"] == {"priority": ["b", "a"]}
    assert shown["sources"]["tiers.cart.ttl_seconds"] == "operator file"
    assert shown["sources"]["tiers.cart.ttl_seconds_max"] == "default file"
    assert shown["sources"]["hot.idle_ttl_seconds"] == "environment"
    assert "hunter2" not in text
    assert not any(key in shown["sources"] for key in ("port", "redis_url", "database_url", "bootstrap_key"))
    book.reload()
    assert book.description()["loaded_at"] == "2001-09-09T01:46:41.000Z"
