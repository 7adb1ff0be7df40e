"""The Redis inside this process speaks the same link."""

from __future__ import annotations

import asyncio

import pytest

from gateway.hot.connection import ReplyError
from gateway.hot.fake import FakeLink
from tests.lua.warehouse import Warehouse, wish


@pytest.fixture
async def link():  # type: ignore[no-untyped-def]
    """A started one."""
    link = FakeLink()
    await link.start()
    yield link
    await link.close()


async def test_fake_answers_in_order(link: FakeLink) -> None:
    """Calls are done in the order they were made, also many at once."""
    calls = [link.call("RPUSH", "list", n) for n in range(200)]

    lengths = await asyncio.gather(*calls)

    assert lengths == list(range(1, 201))
    assert await link.call("LRANGE", "list", 0, -1) == [str(n) for n in range(200)]


async def test_fake_error_has_its_word(link: FakeLink) -> None:
    """An error reply is a ReplyError as over a socket."""
    await link.call("SET", "k", "v")

    with pytest.raises(ReplyError) as problem:
        await link.call("LPUSH", "k", "x")

    assert problem.value.word == "WRONGTYPE"


async def test_fake_links_share_nothing() -> None:
    """Each has a server of its own, and a lineage of its own."""
    one, two = FakeLink(), FakeLink()
    await one.call("SET", "k", "v")

    assert await two.call("GET", "k") is None
    assert one.lineage != two.lineage
    await one.close()
    await two.close()


async def test_fake_cancelled_calls_leave_the_others(link: FakeLink) -> None:
    """A cancelled call disturbs nobody: each gets his own answer."""
    warehouse = await Warehouse.open(link, "fake")
    await warehouse.stock("A", 100)

    async def one(n: int) -> bool:
        answer = await warehouse.run(warehouse.reserve(wish("A", 1), random_part=f"{n:016d}"))
        return answer.fields[0] == f"{n:016d}"

    tasks = [asyncio.create_task(one(n)) for n in range(60)]
    for n, task in enumerate(tasks):
        if n % 3 == 0:
            await asyncio.sleep(0)
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(result is True or isinstance(result, asyncio.CancelledError) for result in results)
    assert link.pending == 0


async def test_fake_knows_when_functions_are_missing(link: FakeLink) -> None:
    """A flushed library is loaded again, as on a real server."""
    warehouse = await Warehouse.open(link, "fake")
    await warehouse.stock("A", 3)
    await link.call("FUNCTION", "FLUSH")

    assert (await warehouse.run(warehouse.reserve(wish("A", 1)))).status == "RESERVED"
