"""The beat of an open loop: even, short of a millisecond, and what was missed is missed."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from bench.beat import Beat

EVERY_S = 0.0005


async def test_beat_comes_twice_in_a_millisecond() -> None:
    """A thousand beats take half a second or more, never less: no two come for one interval."""
    times: list[float] = []
    enough = asyncio.Event()

    def told() -> None:
        times.append(time.monotonic())
        if len(times) == 1000:
            enough.set()

    began = time.monotonic()
    with Beat(EVERY_S, told):
        await enough.wait()

    assert times[999] - began >= 1000 * EVERY_S
    assert len(times) >= 1000


async def test_beat_that_was_missed_is_not_made_up_for() -> None:
    """A loop that was held up beats once behind it, and goes on from there."""
    times: list[float] = []
    first = asyncio.Event()

    def told() -> None:
        times.append(time.monotonic())
        first.set()

    with Beat(0.01, told):
        await first.wait()
        before = len(times)
        time.sleep(0.2)  # noqa: ASYNC251 - it is held up
        held_up_until = time.monotonic()
        await asyncio.sleep(0.001)

    assert len([at for at in times if at < held_up_until + 0.009]) <= before + 2


async def test_beat_ends_and_leaves_no_timer() -> None:
    """Behind the context nothing is called, and its file is closed."""
    beats: list[int] = []
    first = asyncio.Event()

    def told() -> None:
        beats.append(1)
        first.set()

    with Beat(EVERY_S, told) as beat:
        await first.wait()
        os.fstat(beat._timer)

    count = len(beats)
    await asyncio.sleep(0.02)

    assert len(beats) == count
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(beat._timer)
