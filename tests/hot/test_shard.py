"""What a call ends in: done, refused, certainly not applied, or unknown; and that one call has one effect."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.domain.errors import Corrupt, GatewayError, HotStoreUnavailable, Overloaded, ShardRecovering
from gateway.hot.connection import SocketLink
from gateway.hot.shard import DROPS, NOT_RUN, Shard
from tests.hot.links import linked, new_link, new_shard
from tests.hot.stub import Close, StubServer, array, bulk, ok_reply, proxied, stub_server, stubbed, until
from tests.lua.audit import audit
from tests.lua.warehouse import Warehouse, wish

Outcome = tuple[type[BaseException], str]


async def outcome(shard: Shard, **how: int) -> Outcome:
    """The error of one call and what it says about having happened. It must come; silence fails the test."""
    async with asyncio.timeout(60):
        try:
            await shard.run("expire", (), ("1",), **how)
        except GatewayError as problem:
            return type(problem), problem.outcome
    raise AssertionError("no error")


class Script:
    """What a stub answers, one after the other; the last one stays."""

    def __init__(self, *turns: object) -> None:
        self.turns = list(turns)

    def __call__(self, command: list[str]) -> bytes:
        turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        if turn is Close:
            raise Close
        if turn == "ok":
            return ok_reply(command, "SWEPT", "0", "0", "0")
        if isinstance(turn, str):
            return ok_reply(command, turn)
        assert isinstance(turn, bytes)
        return turn


@pytest.mark.parametrize("word", sorted(NOT_RUN))
async def test_error_of_a_server_that_did_not_run_it_is_not_applied(word: str) -> None:
    """Each word of the table: not_applied; and the connection is given up where it is of no use any more."""
    async with stubbed(Script(f"-{word} some reason\r\n".encode())) as (server, link):
        shard = new_shard(link)

        found = await outcome(shard)

        assert found == (HotStoreUnavailable, "not_applied")
        assert shard.is_open
        if word in DROPS:
            await until(lambda: server.connections == 2)
        else:
            await asyncio.sleep(0.02)
            assert server.connections == 1
    assert len(server.commands) == 1


@pytest.mark.parametrize("word", ["OOM", "BUSY", "LOADING", "READONLY"])
async def test_error_after_a_lost_reply_is_unknown(word: str) -> None:
    """The first attempt may have run: what the server says to the second does not tell."""
    async with stubbed(Script(Close, f"-{word} some reason\r\n".encode())) as (_, link):
        assert await outcome(new_shard(link)) == (HotStoreUnavailable, "unknown")


@pytest.mark.parametrize("text", ["ERR something broke", "ERR script killed"])
async def test_error_of_a_script_is_corrupt(text: str) -> None:
    """A script that broke off is a law broken: Corrupt, and unknown."""
    async with stubbed(Script(f"-{text}\r\n".encode())) as (_, link):
        assert await outcome(new_shard(link)) == (Corrupt, "unknown")


async def test_key_of_another_type_condemns_the_shard() -> None:
    """Somebody's hand was in it: meta is poisoned, the shard is closed, and the caller's change has not happened."""
    turns = (b"-WRONGTYPE some reason\r\n", bulk("hash"), bulk("1"), b":1\r\n")
    async with stubbed(Script(*turns)) as (server, link):
        shard = new_shard(link)

        found = await outcome(shard)

    assert found == (ShardRecovering, "not_applied")
    assert not shard.is_open
    assert server.commands[-1][:3] == ["HSET", shard.keys.meta, "poison"]


async def test_shard_of_another_epoch_is_not_condemned() -> None:
    """Somebody has opened it anew meanwhile: what was damaged is not his."""
    turns = (b"-WRONGTYPE some reason\r\n", bulk("hash"), bulk("2"))
    async with stubbed(Script(*turns)) as (server, link):
        shard = new_shard(link)

        found = await outcome(shard)

    assert found == (ShardRecovering, "not_applied")
    assert [command[0] for command in server.commands] == ["FCALL", "TYPE", "HGET"]


@pytest.mark.parametrize(
    "text",
    [
        "ERR The user executing the script can't run this command or subcommand script: x, on @user_function:3.",
        "ERR ACL failure in script: User default has no permissions to run the 'xadd' command",
    ],
)
async def test_command_that_a_script_may_not_run_is_not_applied(text: str) -> None:
    """Before its first write, for after it the answer is POISONED: nothing happened, and nothing is damaged."""
    async with stubbed(Script(f"-{text}\r\n".encode())) as (_, link):
        shard = new_shard(link)

        assert await outcome(shard) == (HotStoreUnavailable, "not_applied")
        assert shard.is_open


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        ("CLOSED", ShardRecovering, "not_applied"),
        ("POISONED", ShardRecovering, "unknown"),
        ("LATE", Overloaded, "not_applied"),
        ("BACKLOG", Overloaded, "not_applied"),
    ],
)
@pytest.mark.parametrize("lost", [False, True])
async def test_status_that_ends_a_call(status: str, error: type[GatewayError], told: str, lost: bool) -> None:
    """Gates are not_applied, after a lost reply unknown; CLOSED and POISONED close the shard.

    `overloaded` promises that nothing happened: what may have happened is told by another name.
    """
    turns = (Close, status) if lost else (status,)
    async with stubbed(Script(*turns)) as (_, link):
        shard = new_shard(link)

        found = await outcome(shard)

        named = HotStoreUnavailable if lost and error is Overloaded else error
        assert found == (named, "unknown" if lost else told)
        assert shard.is_open == (status in ("LATE", "BACKLOG"))
        assert shard.closed.is_set() != shard.is_open


async def test_lost_reply_is_asked_again_on_a_new_connection() -> None:
    """The same call again, under another nonce, until it is answered."""
    async with stubbed(Script(Close, Close, "ok")) as (server, link), asyncio.timeout(60):
        answer = await new_shard(link).run("expire", (), ("1",))

    assert answer.status == "SWEPT"
    assert [command[-1] for command in server.commands] == ["1"] * 3
    assert len({command[6] for command in server.commands}) == 3


async def test_lost_reply_is_asked_again_resend_max_times() -> None:
    """Then it is unknown, and not one time more."""
    async with stubbed(Script(Close)) as (server, link):
        found = await outcome(new_shard(link, resend_max=2))

    assert found == (HotStoreUnavailable, "unknown")
    assert len(server.commands) == 3


async def test_silent_server_is_unknown_within_the_time() -> None:
    """No answer at all: unknown, at the latest when the call's time is over."""
    async with stubbed(Script(b""), timeout_ms=100) as (_, link):
        # So often it is sent again that its time alone ends it.
        found = await outcome(new_shard(link, timeout_ms=300, resend_max=10_000))

    assert found == (HotStoreUnavailable, "unknown")


async def cut_off(server: StubServer, link: SocketLink) -> None:
    """There is no connection, and none is to be had; the link knows."""
    server.is_refusing = True
    server.hang_up()
    await until(lambda: link._wire is None)


async def test_no_connection_is_not_applied_within_the_time() -> None:
    """Nobody to talk to: not_applied after the call's time; the loop goes on meanwhile."""
    async with stubbed(Script("ok")) as (server, link):
        shard = new_shard(link, timeout_ms=600_000)
        await cut_off(server, link)
        began = time.monotonic()

        found = await outcome(shard, within_ms=200)

        assert found == (HotStoreUnavailable, "not_applied")
        assert time.monotonic() - began > 0.15


async def test_connection_that_comes_back_in_time_is_used() -> None:
    """A call made while the link is away waits for it and succeeds."""
    async with stubbed(Script("ok")) as (server, link):
        shard = new_shard(link)
        await cut_off(server, link)
        call = asyncio.create_task(shard.run("expire", (), ("1",)))
        await asyncio.sleep(0.05)
        server.is_refusing = False

        async with asyncio.timeout(60):
            assert (await call).status == "SWEPT"


async def test_closed_link_ends_a_call_without_stopping_the_loop() -> None:
    """A call on a link that was closed for good ends as not_applied, and others run while it waits."""
    async with stub_server(Script("ok")) as (_, port):
        link = new_link(f"redis://127.0.0.1:{port}")
        await link.start()
        shard = new_shard(link)
        await link.close()
        call = asyncio.create_task(outcome(shard))
        for _ in range(20):
            await asyncio.sleep(0.001)
        is_over = call.done()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        found = await outcome(shard, within_ms=50)

    assert not is_over
    assert found == (HotStoreUnavailable, "not_applied")


FOREIGN = {
    "another's nonce": array("77777", "SWEPT", "1", "0"),
    "a number": b":1\r\n",
    "nothing": b"$-1\r\n",
    "a text": b"+OK\r\n",
    "an empty array": b"*0\r\n",
    "an array of numbers": b"*2\r\n:1\r\n:2\r\n",
}


@pytest.mark.parametrize("reply", FOREIGN)
async def test_foreign_reply_closes_the_connection_and_is_asked_again(reply: str) -> None:
    """A reply that does not echo the nonce is another's: its connection is not trusted, the call is made again."""
    async with stubbed(Script(FOREIGN[reply], "ok")) as (server, link), asyncio.timeout(60):
        answer = await new_shard(link).run("expire", (), ("1",))

    assert answer.status == "SWEPT"
    assert server.connections == 2


async def test_foreign_replies_without_end_are_unknown() -> None:
    """Never an answer of one's own: unknown after the resends, never somebody else's data."""
    async with stubbed(Script(FOREIGN["another's nonce"])) as (_, link):
        assert await outcome(new_shard(link)) == (HotStoreUnavailable, "unknown")


async def test_shift_by_one_is_noticed_by_every_caller() -> None:
    """A server that answers one reply too many shifts all that follow: nobody takes another's answer for his own."""
    has_shifted = False

    def answer(command: list[str]) -> bytes:
        nonlocal has_shifted
        extra = b"" if has_shifted else ok_reply(command, "SWEPT", "foreign", "0", "0")
        has_shifted = True
        return extra + ok_reply(command, "SWEPT", command[-1], "0", "0")

    async with stubbed(answer) as (_, link), asyncio.timeout(60):
        shard = new_shard(link)
        answers = await asyncio.gather(*[shard.run("expire", (), (str(n),)) for n in range(50)])

    assert [a.fields[0] for a in answers][1:] == [str(n) for n in range(1, 50)]


async def test_unknown_library_is_loaded_and_called_once_more() -> None:
    """A server that does not know the functions has run nothing: they are loaded, the call is made again."""
    missing = b"-ERR Function not found\r\n"
    async with stubbed(Script(missing, b"+gateway\r\n", "ok")) as (server, link), asyncio.timeout(60):
        answer = await new_shard(link).run("expire", (), ("1",))

    assert answer.status == "SWEPT"
    assert [command[0] for command in server.commands] == ["FCALL", "FUNCTION", "FCALL"]


async def test_unknown_library_that_can_not_be_loaded_is_not_applied() -> None:
    """Loading fails: nothing ran."""
    missing = b"-ERR Function not found\r\n"
    async with stubbed(Script(missing, b"-OOM no room\r\n")) as (_, link):
        assert await outcome(new_shard(link)) == (HotStoreUnavailable, "not_applied")


async def test_unknown_library_after_a_lost_reply_that_can_not_be_loaded_is_unknown() -> None:
    """The first attempt may have run before the library went away: then nobody knows."""
    missing = b"-ERR Function not found\r\n"
    async with stubbed(Script(Close, missing, b"-OOM no room\r\n")) as (_, link):
        assert await outcome(new_shard(link)) == (HotStoreUnavailable, "unknown")


async def test_unknown_library_for_ever_ends() -> None:
    """A server that takes the library and never knows it is not asked without end."""

    def answer(command: list[str]) -> bytes:
        return b"+gateway\r\n" if command[0] == "FUNCTION" else b"-ERR Function not found\r\n"

    async with stubbed(answer) as (server, link):
        error, _ = await outcome(new_shard(link, timeout_ms=300))

    assert issubclass(error, GatewayError)
    assert len(server.commands) < 1000


async def test_flushed_library_is_loaded_again_on_a_real_server(valkey_url: str) -> None:
    """FUNCTION FLUSH by a human: the next call loads the library, and many at once all go through."""
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "flushed")
        await warehouse.stock("A", 100)
        await link.call("FUNCTION", "FLUSH")

        answers = await asyncio.gather(*[warehouse.run(warehouse.reserve(wish("A", 1))) for _ in range(20)])

        assert {answer.status for answer in answers} == {"RESERVED"}
        assert await warehouse.counters("A") == (100, 20, 0)
        await audit(warehouse)


async def test_other_lineage_closes_the_shard_before_anything_is_sent() -> None:
    """A server with another replication history is not the one the shard was opened on."""
    async with stubbed(Script("ok")) as (server, link):
        shard = new_shard(link)
        server.lineage = "lineage-2"
        server.hang_up()
        await until(lambda: link.lineage == "lineage-2")

        found = await outcome(shard)

        assert found == (ShardRecovering, "not_applied")
        assert (shard.is_open, server.commands) == (False, [])


async def test_queue_full_is_overloaded_and_not_applied() -> None:
    """No room among the commands under way."""
    async with stubbed(Script(b""), pending_max=1) as (_, link):
        shard = new_shard(link)
        waiting = link.call("PING")

        found = await outcome(shard)

        assert found == (Overloaded, "not_applied")
        link.drop()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_plain_question_after_a_lost_reply_is_asked_once_more() -> None:
    """`ask` repeats a command that changes nothing, once; an error reply is not repeated."""
    async with stubbed(Script(Close, bulk("value"))) as (server, link), asyncio.timeout(60):
        assert await new_shard(link).ask("GET", "k") == "value"
    async with stubbed(Script(b"-ERR no\r\n")) as (server, link):
        with pytest.raises(HotStoreUnavailable, match="no"):
            await new_shard(link).ask("GET", "k")
        assert len(server.commands) == 1


# On a real server behind a proxy that loses what it is told to


@pytest.mark.parametrize("key", ["", "k1"])
@pytest.mark.parametrize("lost", [1, 2])
async def test_lost_reply_of_a_reserve_is_one_hold(valkey_url: str, key: str, lost: int) -> None:
    """With and without a key, one or two replies lost: the units are held once, and the answer is the hold."""
    async with proxied(valkey_url) as (proxy, url), linked(url) as link, asyncio.timeout(60):
        warehouse = await Warehouse.open(link, "lost")
        await warehouse.stock("A", 10)
        proxy.swallow = lost

        answer = await warehouse.run(warehouse.reserve(wish("A", 3), key=key))

        assert answer.status == ("REPLAYED" if key else "RESERVED")
        assert await warehouse.counters("A") == (10, 3, 0)
        await audit(warehouse)


async def test_lost_replies_of_every_operation_are_one_effect_each(valkey_url: str) -> None:
    """Extend, confirm, fulfil, release, put, adjust, pause, batch: each answer lost once, each done once."""
    async with proxied(valkey_url) as (proxy, url), linked(url) as link, asyncio.timeout(60):
        warehouse = await Warehouse.open(link, "each")
        await warehouse.stock("A", 10)
        sold, gone = await warehouse.hold(wish("A", 1)), await warehouse.hold(wish("A", 2))
        calls = {
            "extend": (warehouse.extend(gone), "EXTENDED"),
            "confirm": (warehouse.confirm(sold), "CONFIRMED"),
            "fulfil": (warehouse.fulfil(sold), "FULFILLED"),
            "release": (warehouse.release(gone), "RELEASED"),
            "put": (warehouse.put("A", on_hand=20), "UNCHANGED"),
            "adjust": (warehouse.adjust("A", 5, key="k"), "REPLAYED"),
            "pause": (warehouse.pause("A"), "UNCHANGED"),
        }
        for name, (call, expected) in calls.items():
            proxy.swallow = 1
            assert (await warehouse.run(call)).status == expected, name

        assert await warehouse.counters("A") == (25, 0, 0)
        types = [event.type for event in await warehouse.remember()][4:]
        assert types == [
            "stock.extended", "stock.extended", "stock.confirmed", "stock.shipped", "stock.released", "stock.counted",
            "stock.adjusted", "stock.paused",
        ]  # fmt: skip
        await audit(warehouse)


async def test_original_that_arrives_after_its_resend_does_not_hold_twice(valkey_url: str) -> None:
    """The first attempt is stuck on the way, the second succeeds, then the first arrives: one hold, keyed or not."""
    for key in ("", "k1"):
        async with proxied(valkey_url) as (proxy, url), linked(url) as link, asyncio.timeout(60):
            warehouse = await Warehouse.open(link, f"late{key}")
            await warehouse.stock("A", 10)
            proxy.hold = True
            call = asyncio.create_task(warehouse.run(warehouse.reserve(wish("A", 3), key=key)))
            await until(lambda: bool(proxy.held))
            proxy.hold = False
            link.drop()

            answer = await call
            await proxy.let_go()

            assert answer.status == "RESERVED"
            assert await warehouse.counters("A") == (10, 3, 0)
            await audit(warehouse)


async def test_original_that_arrives_after_its_time_changes_nothing(valkey_url: str) -> None:
    """A call given up as unknown that arrives when its time is over is LATE: no hold appears that nobody knows of."""
    async with proxied(valkey_url) as (proxy, url), linked(url) as link, asyncio.timeout(60):
        warehouse = await Warehouse.open(link, "overdue")
        await warehouse.stock("A", 10)
        warehouse.shard._limits.resend_max = 0  # its sender gives up at once
        proxy.hold = True
        call = asyncio.create_task(warehouse.shard.run(*_parts(warehouse), within_ms=150))
        await until(lambda: bool(proxy.held))
        link.drop()
        with pytest.raises(HotStoreUnavailable) as given_up:
            await call
        proxy.hold = False
        async with linked(valkey_url) as other:  # the shard's clock stands still otherwise
            await other.call("HSET", warehouse.keys.meta, "clock", warehouse.now_ms + 3_600_000)

        await proxy.let_go()

        assert given_up.value.outcome == "unknown"
        async with linked(valkey_url) as other:
            level = await other.call("HGET", warehouse.keys.sku("main", "A"), "Lmain")
        assert level.split(" ")[:2] == ["10", "0"]


def _parts(warehouse: Warehouse) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    call = warehouse.reserve(wish("A", 3))
    return call.script, call.keys, call.arguments


async def test_cancelled_callers_never_shift_the_answers(valkey_url: str) -> None:
    """Of 300 holds a third is cancelled by its caller at a random moment: every answer is its own, the books add up."""
    async with linked(valkey_url) as link:
        warehouse = await Warehouse.open(link, "cancel")
        await warehouse.stock("A", 1000)
        parts = [f"{n:016d}" for n in range(300)]

        async def one(part: str) -> bool:
            answer = await warehouse.run(warehouse.reserve(wish("A", 1), random_part=part))
            return answer.fields[0] == part

        tasks = [asyncio.create_task(one(part)) for part in parts]
        for n, task in enumerate(tasks):
            if n % 3 == 0:
                await asyncio.sleep(0)
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)

        assert all(result is True or isinstance(result, asyncio.CancelledError) for result in results)
        assert sum(result is True for result in results) >= 150
        await audit(warehouse)
