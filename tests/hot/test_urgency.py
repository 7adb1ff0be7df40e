"""Urgency: who waits for a commit is heard once per moment, also behind a word that is under way."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.domain.errors import HotStoreUnavailable
from gateway.hot.keys import Keys
from gateway.hot.link import Lost, NotSent
from gateway.hot.shard import Shard
from gateway.hot.urgency import UrgencyWatch, Urging


class Line:
    """A link whose replies the test gives, and the shard around it."""

    def __init__(self) -> None:
        self.link = self
        self.keys = Keys("rg", 0, 1)
        self.called: list[tuple[Any, ...]] = []
        self.replies: list[asyncio.Future[Any]] = []
        self.is_down = False

    def call(self, *arguments: Any) -> asyncio.Future[Any]:
        if self.is_down:
            raise NotSent("down")
        self.called.append(arguments)
        self.replies.append(asyncio.get_running_loop().create_future())
        return self.replies[-1]


async def test_urging_says_one_more_word_for_all_that_came_meanwhile() -> None:
    """A change that was made while a word was under way may have been missed by the turn it began."""
    line = Line()
    urging = Urging(cast("Shard", line))

    for _ in range(5):
        urging.urge()
    assert len(line.called) == 1
    line.replies[0].set_result("1-0")
    await asyncio.sleep(0)
    assert len(line.called) == 2
    line.replies[1].set_result("2-0")
    await asyncio.sleep(0)
    assert len(line.called) == 2
    urging.urge()
    assert len(line.called) == 3


async def test_urging_outlives_a_lost_connection() -> None:
    """A word that is lost or can not be sent is no fault; the next one goes out again."""
    line = Line()
    urging = Urging(cast("Shard", line))
    urging.urge()
    line.replies[0].set_exception(Lost("gone"))
    await asyncio.sleep(0)
    line.is_down = True
    urging.urge()
    line.is_down = False
    urging.urge()

    assert len(line.called) == 2


async def test_watch_hears_each_word_once_and_asks_a_new_server_from_the_beginning() -> None:
    """It goes on behind the last word, and forgets it with the connection: another server may count lower."""
    line = Line()
    watch = UrgencyWatch(cast("Any", line), cast("Shard", line), timeout_ms=1000)

    async def answered(reply: object) -> bool:
        turn = asyncio.create_task(watch.is_urged())
        await asyncio.sleep(0)
        if isinstance(reply, Exception):
            line.replies[-1].set_exception(reply)
        else:
            line.replies[-1].set_result(reply)
        return await turn

    assert await answered([[line.keys.urgency, [["7-0", ["w", "1"]]]]])
    assert not await answered(None)
    assert line.called[-1][-1] == "7-0"
    with pytest.raises(HotStoreUnavailable):
        await answered(Lost("gone"))
    await answered(None)
    assert line.called[-1][-1] == "0"
    assert line.called[-1][2] <= 500
