"""When buyers come and what they do: by the seed alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.cli.sale.crowd_member import member
from gateway.cli.sale.pay_delay import PayDelay, parse_pay_delay
from gateway.cli.sale.schedule import intended_times
from tests.cli.selling import PLAN


def test_schedule_even_has_equal_gaps_without_drift() -> None:
    """Each time is its number over the rate; the millionth is as exact as the first."""
    times = list(intended_times(300.0, "even", 1, 1_000_000))

    assert times[:3] == [0.0, 1 / 300, 2 / 300]
    assert times[-1] == 999_999 / 300


def test_schedule_poisson_has_the_rate_and_its_scatter() -> None:
    """Rising, equal for one seed, other for another; mean and spread of the gaps are those of exponential ones."""
    times = list(intended_times(100.0, "poisson", 7, 20_000))
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)

    assert times == sorted(times)
    assert times == list(intended_times(100.0, "poisson", 7, 20_000))
    assert times != list(intended_times(100.0, "poisson", 8, 20_000))
    assert mean == pytest.approx(0.01, rel=0.03)
    assert variance**0.5 == pytest.approx(0.01, rel=0.05)


def test_crowd_members_follow_the_shares_and_the_seed() -> None:
    """Of many buyers the wanted shares abandon, are bots and send twice; every sku is wanted equally often."""
    plan = replace(PLAN, skus=4, abandon=0.3, bots=0.1, duplicates=0.2)
    crowd = [member(plan, number) for number in range(8_000)]

    assert sum(each.is_abandoning for each in crowd) == pytest.approx(2_400, rel=0.06)
    assert sum(each.is_bot for each in crowd) == pytest.approx(800, rel=0.1)
    assert sum(each.has_duplicate_reserve for each in crowd) == pytest.approx(1_600, rel=0.08)
    assert sum(each.has_duplicate_confirm for each in crowd) == pytest.approx(1_600, rel=0.08)
    assert sum(each.is_concurrent for each in crowd) == pytest.approx(4_000, rel=0.05)
    assert all(sum(each.sku == sku for each in crowd) == pytest.approx(2_000, rel=0.08) for sku in range(4))
    assert crowd[17] == member(plan, 17) != member(replace(plan, seed=2), 17)


def test_pay_delay_forms_give_their_distributions() -> None:
    """Fixed, even and exponential, by the inverse of each; the tail is cut."""
    assert parse_pay_delay("2").seconds(0.9) == 2.0
    assert parse_pay_delay("1..5").seconds(0.5) == 3.0
    assert parse_pay_delay("exp:2").seconds(1 - 1 / 2.718281828459045) == pytest.approx(2.0)
    assert PayDelay("exp", 3_600.0).seconds(1 - 2**-53) == 3_600.0


@pytest.mark.parametrize("text", ["", "soon", "-1", "5..1", "exp:", "exp:-2", "3601", "nan", "1..inf"])
def test_pay_delay_that_is_none_is_refused(text: str) -> None:
    """Not a number, negative, upside down, too long: told, never clamped."""
    with pytest.raises(ValueError, match="must"):
        parse_pay_delay(text)
