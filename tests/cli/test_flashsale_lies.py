"""A gateway that oversells, loses or doubles is found out: the verdict can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.fake_gateway import fake_gateway
from tests.cli.playing import command
from tests.cli.selling import kinds, reports, sell

# The fault, how the sale is played, and what must be among the findings.
LIES: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({"oversells_by": 1}, {}, {"oversold"}),
    # Held by two at one moment, sold to nobody.
    ({"oversells_by": 2}, {"abandon": 1.0}, {"oversold"}),
    ({"loses_a_unit": True}, {}, {"lost_unit"}),
    ({"hides_units": 1}, {}, {"false_refusal"}),
    ({"doubles_keys": True}, {"duplicates": 1.0}, {"two_effects"}),
    ({"doubles_quietly": True}, {"duplicates": 1.0, "buyers": 8}, {"two_effects", "books"}),
    ({"gives_one_id": True}, {"buyers": 5}, {"two_buyers"}),
    ({"forgets_keys": True}, {"duplicates": 1.0}, {"forgotten_key"}),
    ({"forgets_sales": True}, {}, {"books"}),
    ({"refuses_payment": True}, {}, {"wrong_refusal"}),
    ({"grants_one_less": True}, {"buyers": 5}, {"books"}),
    ({"expires_early": True}, {}, {"early_expiry"}),
    ({"keeps_holds": True}, {"abandon": 1.0, "ttl_seconds": 1, "rate_per_second": 25.0}, {"false_refusal"}),
]


@pytest.mark.parametrize(("faults", "plan", "wanted"), LIES, ids=lambda words: "-".join(sorted(words)))
async def test_flashsale_finds_a_gateway_that_lies(faults: Any, plan: Any, wanted: set[str]) -> None:
    """Each lie is found, and by its name."""
    async with fake_gateway(**faults) as gateway:
        result = await sell(gateway.url, **plan)

    assert not result.verdict.is_exact
    assert wanted <= kinds(result), result.verdict.violations
    assert "promises were broken" in result.verdict.sentence()


async def test_flashsale_finds_what_the_gateway_finds_itself() -> None:
    """A violation of the gateway's own check counts."""
    async with fake_gateway() as gateway:
        gateway.violations = [{"invariant": 1, "kind": "held", "where": "main/A", "detail": "the level counts 2"}]
        result = await sell(gateway.url)

    assert [(each.kind, each.where, each.detail) for each in result.verdict.violations] == [
        ("conservation", "main/A", "1 held the level counts 2")
    ]


async def test_flashsale_takes_lost_holds_for_what_they_are() -> None:
    """A hold that is told as lost with the hot store is no lie; it is counted, and its unit may be sold again."""
    async with fake_gateway(loses_holds=True) as gateway:
        result = await sell(gateway.url, abandon=0.5)

    assert result.verdict.is_exact, result.verdict.violations
    assert result.verdict.lost_holds == 60
    assert result.figures.results["lost"] > 0


async def test_flashsale_tells_what_it_could_not_clean_up() -> None:
    """Reservations that stay are named; the verdict on the sale is another thing."""
    async with fake_gateway(keeps_what_is_released=True) as gateway:
        result = await sell(gateway.url, buyers=5)

    assert result.verdict.is_exact
    assert result.cleared is not None
    assert "levels are not empty" in result.cleared.failures[0]


@pytest.mark.parametrize(
    ("fault", "words"), [("loses_a_unit", "units are missing"), ("oversells_by", "more units were promised")]
)
async def test_flashsale_command_ends_with_status_1_when_it_found_something(
    tmp_path: Path, fault: str, words: str
) -> None:
    """Status and words say it, on the terminal and in the reports."""
    async with fake_gateway(**{fault: 1}) as gateway:
        options = ("--url", gateway.url, "--buyers", "30", "--units", "10", "--concurrency", "1", "--abandon", "0")
        status, out, _ = await command("flashsale", *options, "--pay-delay", "0", "--report", str(tmp_path))
    page, told = reports(tmp_path)

    assert status == 1
    assert "NOT EXACT" in out
    assert words in out
    assert words in page
    assert told["verdict"]["word"] == "NOT EXACT"
