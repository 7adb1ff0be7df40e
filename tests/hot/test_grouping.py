"""Grouping: reserves of one moment travel in few calls, and no caller notices."""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain.errors import HotStoreUnavailable, ShardRecovering
from gateway.hot.grouping import GROUP_MAX, Grouping
from tests.hot.links import linked, new_shard
from tests.hot.stub import Close, array, ok_reply, proxied, stubbed
from tests.lua.audit import audit
from tests.lua.warehouse import Warehouse, wish


def held(command: list[str]) -> bytes:
    """A stub's answer to a group: each operation held, under its own text."""
    keys = int(command[2])
    nonce, texts = command[3 + keys], command[7 + keys :]
    results = b"".join(array("RESERVED", text) for text in texts)
    head = array(nonce, "GROUP", "1000", "0")
    return b"*%d%s" % (4 + len(texts), head[2:]) + results


async def test_group_of_one_tick_travels_together() -> None:
    """Reserves of one tick are one call, each caller gets his own result; a full group leaves before the tick is over."""
    async with stubbed(held) as (server, link):
        grouping = Grouping(new_shard(link), "group")
        texts = [f"text {n}" for n in range(GROUP_MAX * 2 + 3)]

        results = await asyncio.gather(*[grouping.ask(text) for text in texts])

    assert [result[1] for result in results] == texts
    sizes = [len(command) - 7 - int(command[2]) for command in server.commands]
    assert sizes == [GROUP_MAX, GROUP_MAX, 3]


async def test_group_of_another_tick_travels_alone() -> None:
    """What comes a tick later does not wait for the answer of the one before."""
    async with stubbed(held) as (server, link):
        grouping = Grouping(new_shard(link), "group")
        first = grouping.ask("one")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = grouping.ask("two")

        results = await asyncio.gather(first, second)

    assert [result[1] for result in results] == ["one", "two"]
    assert len(server.commands) == 2


async def test_group_names_a_reservation_once() -> None:
    """A second operation on one that the group names travels in the next call, and so does what comes behind it."""
    async with stubbed(held) as (server, link):
        grouping = Grouping(new_shard(link), "group")
        asked = [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b"), ("a3", "a"), ("", "")]
        results = await asyncio.gather(*[grouping.ask(text, name) for text, name in asked])

    assert [result[1] for result in results] == [text for text, _ in asked]
    texts = [command[7 + int(command[2]) :] for command in server.commands]
    assert texts == [["a1", "b1"], ["a2", "b2"], ["a3", ""]]


async def test_group_error_is_everybodys_own() -> None:
    """All are told, each by an error object of his own with the same outcome."""

    def oom(_command: list[str]) -> bytes:
        return b"-OOM no room\r\n"

    async with stubbed(oom) as (_, link):
        grouping = Grouping(new_shard(link), "group")
        problems = await asyncio.gather(*[grouping.ask(str(n)) for n in range(3)], return_exceptions=True)

    assert [type(problem) for problem in problems] == [HotStoreUnavailable] * 3
    assert {problem.outcome for problem in problems} == {"not_applied"}  # type: ignore[union-attr]
    assert len({id(problem) for problem in problems}) == 3


async def test_group_on_a_closed_shard_is_not_applied() -> None:
    """A closed shard refuses all of them before anything is sent."""
    async with stubbed(held) as (server, link):
        shard = new_shard(link)
        shard.close()
        grouping = Grouping(shard, "group")
        problems = await asyncio.gather(*[grouping.ask(str(n)) for n in range(3)], return_exceptions=True)

    assert [(type(p), p.outcome) for p in problems] == [(ShardRecovering, "not_applied")] * 3  # type: ignore[union-attr]
    assert server.commands == []


@pytest.mark.parametrize(
    "reply", [b"*0\r\n", b":1\r\n", array("9999", "GROUP", "1", "0")], ids=["empty", "number", "another's"]
)
async def test_group_answered_with_nonsense_leaves_nobody_waiting(reply: bytes) -> None:
    """Whatever comes back, every caller ends with an error of the gateway that says unknown."""

    def answer(_command: list[str]) -> bytes:
        return reply

    async with stubbed(answer) as (_, link), asyncio.timeout(60):
        grouping = Grouping(new_shard(link), "group")
        problems = await asyncio.gather(*[grouping.ask(str(n)) for n in range(3)], return_exceptions=True)

    assert [(type(p), p.outcome) for p in problems] == [(HotStoreUnavailable, "unknown")] * 3  # type: ignore[union-attr]


async def test_group_with_a_caller_who_left_serves_the_others(valkey_url: str) -> None:
    """A cancelled caller's hold is made (it had left), the others get their own answers, the books add up."""
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "left")
        await warehouse.stock("A", 10)
        grouping = Grouping(warehouse.shard, "group")
        calls = [warehouse.reserve(wish("A", 1), random_part=f"{n:016d}") for n in range(4)]
        futures = [grouping.ask(call.text) for call in calls]
        futures[1].cancel()

        results = await asyncio.gather(*futures, return_exceptions=True)

        assert isinstance(results[1], asyncio.CancelledError)
        assert [results[n][1] for n in (0, 2, 3)] == [f"{n:016d}" for n in (0, 2, 3)]  # type: ignore[index]
        assert await warehouse.counters("A") == (10, 4, 0)
        await audit(warehouse)


async def test_group_whose_reply_is_lost_holds_once(valkey_url: str) -> None:
    """The whole group is asked again, and each of it is recognised."""
    async with proxied(valkey_url) as (proxy, url), linked(url) as link, asyncio.timeout(60):
        warehouse = await Warehouse.open(link, "again")
        await warehouse.stock("A", 50)
        grouping = Grouping(warehouse.shard, "group")
        proxy.swallow = 1
        calls = [warehouse.reserve(wish("A", 1), key="" if n % 2 else f"k{n}") for n in range(GROUP_MAX)]

        results = await asyncio.gather(*[grouping.ask(call.text) for call in calls])

        assert {result[0] for result in results} == {"RESERVED", "REPLAYED"}
        assert len({result[1] for result in results}) == GROUP_MAX
        assert await warehouse.counters("A") == (50, GROUP_MAX, 0)
        await audit(warehouse)


async def test_group_of_which_no_reply_ever_comes_is_unknown() -> None:
    """After the resends all are told that it may have happened."""

    def gone(_command: list[str]) -> bytes:
        raise Close

    async with stubbed(gone) as (_, link), asyncio.timeout(60):
        grouping = Grouping(new_shard(link), "group")
        problems = await asyncio.gather(*[grouping.ask(str(n)) for n in range(3)], return_exceptions=True)

    assert [(type(p), p.outcome) for p in problems] == [(HotStoreUnavailable, "unknown")] * 3  # type: ignore[union-attr]


async def test_group_race_of_500_buyers_for_50_units(valkey_url: str) -> None:
    """Exactly 50 get one, each time, grouped as they come."""
    async with linked(valkey_url) as link:
        for turn in range(5):
            warehouse = await Warehouse.open(link, f"race{turn}")
            await warehouse.stock("A", 50)
            grouping = Grouping(warehouse.shard, "group")

            results = await asyncio.gather(*[grouping.ask(warehouse.reserve(wish("A", 1)).text) for _ in range(500)])

            assert [result[0] for result in results].count("RESERVED") == 50
            await audit(warehouse)


async def test_group_stub_speaks_like_the_script(valkey_url: str) -> None:
    """The stub's answer has the shape of the real one: a nonce, the status, and an array per operation."""
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "shape")
        await warehouse.stock("A", 5)
        real = await warehouse.raw(warehouse.as_group(warehouse.reserve(wish("A", 1))))
    async with stubbed(held) as (_, link):
        stub = await link.call("FCALL", "group", 3, "m", "l", "d", "n", 1, 0, 1, "text")

    assert [type(part) for part in stub] == [type(part) for part in real]
    assert (stub[:2], stub[4][0]) == (real[:2], real[4][0])
    assert ok_reply(["FCALL", "f", "0", "n"]) == array("n", "OK", "1000", "0")
