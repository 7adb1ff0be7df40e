"""What the load generators send, and what their numbers mean."""

from __future__ import annotations

import pytest

from bench import pipelined, scripts
from bench.closed_loop import each_body
from bench.row import Sample
from bench.rows.hot_open import PATIENCE_SECONDS, sample_of
from bench.rows.workers import ratio_of
from bench.storm import Storm
from gateway.hot.keys import Keys

PLACE = scripts.Place(Keys("rg", 0, 3), 7)


@pytest.mark.parametrize("skus", [1, 2, 1000, 10_000])
def test_each_body_names_every_sku_once(skus: int) -> None:
    """A walk through all of them, so that a round is as wide as it says."""
    assert sorted(each_body("W@@", skus)) == sorted(f"W{at}" for at in range(skus))


def test_each_body_without_skus_is_the_body() -> None:
    """Also where it happens to have the mark."""
    assert each_body("W@@", 0) == ["W@@"]


def test_open_round_counts_what_was_not_answered_as_slowest() -> None:
    """A client that could not offer its load must not look fast; a refusal or a lost request is wrong."""
    storm = Storm(offered=100, unsent=2, lost=1)
    storm.statuses.update({201: 96, 503: 1})
    storm.successes = {0: storm.refusals.__class__({0: 48}), 1: storm.refusals.__class__({49: 48})}
    storm.refusals[70] = 1

    played = sample_of(storm, 2.0)

    assert (played.done, played.wrong, played.rate) == (96, 2, 48.0)
    assert (played.p50_ms, played.p99_ms) == (5.0, PATIENCE_SECONDS * 1000 + 0.1)


def test_benchmark_output_is_read() -> None:
    """The last fields, whatever the name of the test holds, which is the call with its line feeds."""
    header = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"'
    told = f'{header}\n"FCALL a","b\n1","61234.5","1.1","0.2","1.5","2.0","3.5","9.9"\n'

    played = pipelined.parsed(told, 122_469)

    assert played == pipelined.Pipelined(122_469, 2.0, 1.5, 3.5)


@pytest.mark.parametrize("told", ["", "ERR Function not found\n", '"FCALL","much","1","1","1","1","1","1"\n'])
def test_benchmark_output_of_another_form_is_no_rate(told: str) -> None:
    """Nothing is read into an error."""
    assert pipelined.parsed(told, 1) is None


def test_group_calls_hold_every_unit_once() -> None:
    """All are there, twenty in a call but for the last, each with a random part of its own."""
    calls = list(scripts.group_calls(PLACE, 45, lambda at: f"S{at % 2}"))

    operations = [text for call in calls for text in call[10:]]
    assert [len(call) - 10 for call in calls] == [20, 20, 5]
    assert len({text.split("\t")[1] for text in operations}) == 45
    assert [text.split("\n")[1].split("\t")[0] for text in operations[:3]] == ["S0", "S1", "S0"]


def test_single_call_names_the_keys_that_its_script_reads() -> None:
    """Meta, log and due index of the generation that is open, and its epoch."""
    call = scripts.single_call(PLACE, "A", "part")

    assert call[2:6] == ["5", "{rg0}:meta", "{rg0}:3:log", "{rg0}:3:due"]
    assert call[6:8] == ["{rg0}:3:r:part", "{rg0}:3:s:main/A"]
    assert call[9] == "7"


def test_ratio_of_turns_is_their_median() -> None:
    """One bad turn does not move it."""
    one = [Sample(100, 0, 1.0, 1.0, 1.0)] * 3
    two = [Sample(done, 0, 1.0, 1.0, 1.0) for done in (120, 130, 10)]

    assert ratio_of(two, one) == 1.2
