"""The state file: a run that was cut off goes on as the same run."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli.answer import GaveUp
from gateway.cli.play.journal import JournalUnusable, digest_of, read_journal
from tests.cli.fake_gateway import FakeGateway, fake_gateway
from tests.cli.playing import CUT, PLAN, command, orders_file, play


async def cut_off(gateway: FakeGateway, state: Path, **changes: object) -> None:
    """A run whose gateway goes away in the middle, for longer than its patience."""
    running = asyncio.create_task(play(gateway.url, CUT, state, patience_seconds=3.0, concurrency=4, **changes))
    await gateway.until(lambda: len(gateway.holds) >= 20)
    await gateway.stop()
    with pytest.raises(GaveUp):
        await running
    await gateway.start()


async def test_journal_run_that_gave_up_goes_on_and_is_exact(tmp_path: Path) -> None:
    """The second process plays what is missing, under the first one's keys; nothing is sold twice, and all is
    compared.
    """
    state = tmp_path / "state"
    async with fake_gateway(lost_after=0.2) as gateway:
        await cut_off(gateway, state)
        sold_before = len(gateway.holds)
        report = await play(gateway.url, CUT, state, run="another")

    assert report.is_exact
    assert report.plan.run == "test"
    assert 0 < report.invoices_earlier < 69
    assert report.invoices_earlier + report.played_now == report.tally.invoices == 69
    assert len(gateway.holds) == len({hold.reference for hold in gateway.holds.values()}) > sold_before


async def test_journal_finished_run_is_only_compared_again(tmp_path: Path) -> None:
    """When all is played the state file is evidence: the same count is made, and no invoice is sent."""
    state = tmp_path / "state"
    path = orders_file(tmp_path, ("1", "A", 2), ("C2", "A", -1))
    async with fake_gateway() as gateway:
        await play(gateway.url, path, state)
        before = len(gateway.holds)
        again = await play(gateway.url, path, state)
        gateway.on_hand["A"] += 1
        spoiled = await play(gateway.url, path, state)

    assert again.is_exact
    assert (again.played_now, again.tally.invoices) == (0, 2)
    assert len(gateway.holds) == before
    assert not spoiled.is_exact


async def test_journal_torn_last_line_is_played_again(tmp_path: Path) -> None:
    """A process that died while it wrote leaves half a line: that invoice is asked for again and answered as
    before.
    """
    state = tmp_path / "state"
    path = orders_file(tmp_path, ("1", "A", 2), ("2", "B", 1))
    async with fake_gateway() as gateway:
        await play(gateway.url, path, state, abandon=0.0, ttl_seconds=60)
        state.write_bytes(state.read_bytes()[:-10])
        report = await play(gateway.url, path, state, abandon=0.0, ttl_seconds=60)

    assert report.is_exact
    assert (report.invoices_earlier, report.played_now) == (1, 1)
    assert gateway.on_hand == {"A": 0, "B": 0}
    assert all(json.loads(line) for line in state.read_bytes().splitlines())


async def test_journal_process_that_was_killed_goes_on(tmp_path: Path) -> None:
    """kill -9 of the command itself, with its workers: the same command goes on and ends exact; no worker is
    left behind.
    """
    state = tmp_path / "state"
    words = (
        "replay",
        str(CUT),
        "--ttl",
        "1",
        "--processes",
        "2",
        "--concurrency",
        "1",
        "--state",
        str(state),
    )
    async with fake_gateway(delay_seconds=0.02) as gateway:
        running = asyncio.create_task(command(*words, "--url", gateway.url))
        await gateway.until(lambda: state.exists() and state.read_bytes().count(b"\n") > 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        # Workers that went on would play the whole file in this time.
        await asyncio.sleep(2.0)
        held_by_the_killed = len(gateway.holds)
        gateway.faults.delay_seconds = 0.0
        status, out, err = await command(*words, "--url", gateway.url)

    assert status == 0, out + err
    assert held_by_the_killed < 30
    assert len(gateway.holds) == len({hold.reference for hold in gateway.holds.values()}) > 50


async def test_journal_of_another_run_is_refused(tmp_path: Path) -> None:
    """A state file of other orders or of another plan would mix two counts, an old one could sell twice."""
    state, path = tmp_path / "state", orders_file(tmp_path, ("1", "A", 2))
    async with fake_gateway() as gateway:
        await play(gateway.url, path, state)
    digest = digest_of(path)

    assert read_journal(tmp_path / "none", PLAN, digest) is None
    assert read_journal(state, replace(PLAN, processes=3, url="other"), digest) is not None
    with pytest.raises(JournalUnusable, match="other orders"):
        read_journal(state, PLAN, digest_of(CUT))
    with pytest.raises(JournalUnusable, match="seed 1, not 2"):
        read_journal(state, replace(PLAN, seed=2), digest)
    with pytest.raises(JournalUnusable, match="not a state file"):
        read_journal(path, PLAN, digest)
    head, *others = state.read_bytes().splitlines(keepends=True)
    old = {**json.loads(head), "begun_seconds": int(time.time()) - 13 * 3_600}
    state.write_bytes(json.dumps(old).encode() + b"\n" + b"".join(others))
    with pytest.raises(JournalUnusable, match="too old"):
        read_journal(state, PLAN, digest)


def test_journal_cut_off_before_its_first_line_counts_as_none(tmp_path: Path) -> None:
    """Nothing had been played then, so the run begins anew."""
    state = tmp_path / "state"
    state.write_bytes(b'{"version":1,"ru')

    assert read_journal(state, PLAN, "x") is None
    assert state.stat().st_size == 16
