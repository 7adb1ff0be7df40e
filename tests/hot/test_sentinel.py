"""The sentinels: only what most of them name is the primary, and a connection to any other is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.domain.errors import HotStoreUnavailable
from gateway.hot import sentinel
from gateway.hot.address import parse_address
from gateway.hot.connection import NotSent, Refused
from gateway.hot.sentinel import Sentinels
from tests.hot.links import linked, new_link, new_shard
from tests.hot.stub import Answer, Close, StubServer, array, bulk, stub_server, until

QUESTION = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop"]
NOBODY = b"*-1\r\n"


def naming(port: int, host: str = "127.0.0.1") -> Answer:
    """A sentinel that names this primary."""
    return lambda _command: array(host, str(port))


def saying(reply: bytes) -> Answer:
    """A sentinel that answers everything so."""
    return lambda _command: reply


def hanging_up(_command: list[str]) -> bytes:
    """A sentinel that hangs up when it is asked."""
    raise Close


def echo(command: list[str]) -> bytes:
    """A Redis that tells each command its last word."""
    return bulk(command[-1])


@asynccontextmanager
async def watched(*answers: Answer, login: str = "", query: str = "") -> AsyncIterator[tuple[list[StubServer], str]]:
    """Running sentinels, and the URL that lists them."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(stub_server(answer)) for answer in answers]
        places = ",".join(f"127.0.0.1:{port}" for _, port in found)
        yield [server for server, _ in found], f"redis+sentinel://{login}{places}/shop{query}"


def all_name(sentinels: Sequence[StubServer], port: int) -> None:
    """From now on each of them names this primary."""
    for one in sentinels:
        one.answer = naming(port)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch looks often. A sentinel has time to answer on a machine that stands still for a moment."""
    monkeypatch.setattr("gateway.hot.connection.WATCH_S", 0.05)
    monkeypatch.setattr(sentinel, "ASK_S_MAX", 3.0)


@pytest.mark.parametrize(
    ("others", "named"),
    [
        ([naming(7000), naming(7000)], 7000),
        ([naming(7000), naming(6000)], 7000),
        ([naming(7000), saying(NOBODY)], 7000),
        ([naming(7000), saying(b"")], 7000),
        ([naming(7000), hanging_up], 7000),
        ([naming(6000), naming(6000)], 6000),
    ],
    ids=["all", "another named", "not known", "silent", "hangs up", "the first is outvoted"],
)
async def test_sentinels_majority_is_taken(others: list[Answer], named: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three decide, whatever the third one answers, and nobody waits for it."""
    monkeypatch.setattr(sentinel, "ASK_S_MAX", 600.0)
    async with watched(naming(7000), *others) as (_, url), asyncio.timeout(60):
        address = await Sentinels(parse_address(url)).primary()

    assert (address.host, address.port, address.sentinels) == ("127.0.0.1", named, ())


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([naming(6000), naming(5000)], ["names 127.0.0.1:6000", "names 127.0.0.1:5000"]),
        ([saying(NOBODY), saying(b"-ERR not now\r\n")], ["does not know it", "can not be asked (ERR not now)"]),
        ([saying(b""), hanging_up], ["does not answer within 3 s", "can not be asked"]),
        ([saying(array("h", "x")), saying(b":1\r\n")], ["answers with no address", "answers with no address"]),
        ([naming(6000)], ["names 127.0.0.1:6000"]),
        (
            [naming(7000), naming(6000), naming(6000)],
            ["names 127.0.0.1:7000", "names 127.0.0.1:6000", "names 127.0.0.1:6000"],
        ),
    ],
    ids=["all differ", "one knows", "one answers", "nonsense", "half of two", "half of four"],
)
async def test_sentinels_without_a_majority_name_nobody(soon: None, others: list[Answer], words: list[str]) -> None:
    """Half is not enough: one line says what each of them answered, in the order of the URL, and it has come in time."""
    async with watched(naming(7000), *others) as (_, url), asyncio.timeout(60):
        with pytest.raises(Refused, match="no majority of the sentinels names a primary of shop: ") as refusal:
            await Sentinels(parse_address(url)).primary()

    told = str(refusal.value)
    assert "\n" not in told
    texts = told.partition(" of shop: ")[2].split("; ")
    for one, word, text in zip(parse_address(url).sentinels, ["names 127.0.0.1:7000", *words], texts, strict=True):
        assert text.startswith(f"{one.place} {word}")


async def test_sentinels_nobody_listens_to_have_a_vote(soon: None) -> None:
    """A sentinel that is gone counts: one of three that answers does not decide."""
    async with watched(naming(1), naming(1)) as (_, url):
        gone = url.split("//")[1].split("/")[0]
    async with watched(naming(7000)) as (_, here):
        with pytest.raises(Refused, match="no majority"):
            await Sentinels(parse_address(here.replace("/shop", f",{gone}/shop"))).primary()


async def test_sentinels_are_asked_with_their_own_login() -> None:
    """The sentinels get the sentinels' login, Redis that of Redis, and its database."""

    def redis(command: list[str]) -> bytes:
        return b"+OK\r\n" if command[0] in ("AUTH", "SELECT") else echo(command)

    async with stub_server(redis) as (primary, port):

        def guarded(command: list[str]) -> bytes:
            return b"+OK\r\n" if command[0] == "AUTH" else array("127.0.0.1", str(port))

        query = "/3?sentinel_username=watch&sentinel_password=s1"
        async with watched(guarded, login="shop:p1@", query=query) as (sentinels, url), linked(url) as link:
            assert await link.call("ECHO", "there") == "there"

        assert sentinels[0].commands[:2] == [["AUTH", "watch", "s1"], QUESTION]
        assert primary.commands[:2] == [["AUTH", "shop", "p1"], ["SELECT", "3"]]


async def test_sentinels_refusal_does_not_show_the_password() -> None:
    """A wrong login at the sentinels is told as such, and without it."""
    refusing = saying(b"-WRONGPASS invalid username-password pair\r\n")
    async with watched(refusing, query="?sentinel_password=hunter2", login=":hunter3@") as (_, url):
        with pytest.raises(Refused, match="refuses the login: WRONGPASS") as refusal:
            await new_link(url).start()

    assert "hunter" not in str(refusal.value)


async def test_link_goes_to_whom_the_sentinels_name_after_each_loss() -> None:
    """At each new connection they are asked anew: after a failover it is to the new primary, under its lineage."""
    async with (
        stub_server(echo) as (old, old_port),
        stub_server(echo) as (new, new_port),
        watched(*[naming(old_port)] * 3) as (sentinels, url),
        linked(url) as link,
    ):
        new.lineage = "lineage-2"
        assert link.lineage == "lineage-1"

        all_name(sentinels, new_port)
        old.hang_up()
        await until(lambda: link.lineage == "lineage-2")

        assert await link.call("ECHO", "new") == "new"
        assert old.commands == []


async def test_link_to_a_replica_that_the_sentinels_name_is_refused() -> None:
    """What the sentinels say does not spare the question to the server itself."""
    async with stub_server(echo) as (server, port), watched(naming(port)) as (_, url):
        server.role_text = "role:slave\r\nmaster_replid:{lineage}\r\n"

        with pytest.raises(Refused, match="slave"):
            await new_link(url).start()


async def test_link_without_a_majority_waits_and_says_why(soon: None) -> None:
    """No majority is no connection: calls do not leave, and the reason names every answer; then it goes on by itself."""
    async with (
        stub_server(echo) as (server, port),
        watched(*[naming(port)] * 3) as (sentinels, url),
        linked(url) as link,
    ):
        sentinels[0].answer = naming(1)
        sentinels[1].answer = saying(NOBODY)
        server.hang_up()
        await until(lambda: "no majority" in link.problem)
        with pytest.raises(NotSent, match=r"names 127.0.0.1:1; .* does not know it; .* names 127.0.0.1"):
            link.call("PING")

        all_name(sentinels, port)
        assert await link.wait_connected(30)


async def test_link_to_a_primary_that_is_none_any_more_is_left(soon: None) -> None:
    """The old primary still answers and hangs up on nobody: the watch sees whom the sentinels name, and goes there."""
    async with (
        stub_server(echo) as (old, old_port),
        stub_server(echo) as (new, new_port),
        watched(*[naming(old_port)] * 3) as (sentinels, url),
        linked(url) as link,
    ):
        new.lineage = "lineage-2"

        all_name(sentinels[:2], new_port)
        await until(lambda: link.lineage == "lineage-2")

        assert await link.call("ECHO", "x") == "x"
        assert (old.commands, new.commands) == ([], [["ECHO", "x"]])


async def test_link_to_a_frozen_primary_is_left_while_calls_wait(soon: None) -> None:
    """Long before its commands time out: who waits learns that the reply is lost."""
    async with (
        stub_server(saying(b"")) as (_, old_port),
        stub_server(echo) as (_, new_port),
        watched(*[naming(old_port)] * 3) as (sentinels, url),
        linked(url, timeout_ms=60_000) as link,
    ):
        waiting = link.call("ECHO", "x")
        link.flush()
        all_name(sentinels, new_port)

        outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
        assert await link.wait_connected(30)
        assert await link.call("ECHO", "y") == "y"

    assert type(outcome).__name__ == "Lost"


async def test_link_stays_while_too_few_sentinels_answer(soon: None) -> None:
    """One that differs, or all of them gone, is no reason to leave a primary that works."""
    async with (
        stub_server(echo) as (server, port),
        watched(*[naming(port)] * 3) as (sentinels, url),
        linked(url) as link,
    ):
        sentinels[0].answer = naming(1)
        sentinels[1].answer = sentinels[2].answer = hanging_up
        asked = sum(one.connections for one in sentinels)
        await until(lambda: sum(one.connections for one in sentinels) > asked + 6)

        assert await link.call("ECHO", "x") == "x"
        assert server.connections == 1


async def test_link_to_a_server_that_changed_its_history_is_left(soon: None) -> None:
    """Demoted and promoted again while nobody asked: the connection holds, the lineage does not, and it is learned anew."""
    async with stub_server(echo) as (server, port), linked(f"redis://127.0.0.1:{port}") as link:
        server.lineage = "lineage-2"
        await until(lambda: link.lineage == "lineage-2")

        assert server.connections == 2


@pytest.mark.parametrize(("others", "is_sure"), [(2, True), (1, False), (0, False)])
async def test_shard_is_verified_by_the_majority_alone(others: int, is_sure: bool) -> None:
    """Before an epoch is raised: a connection that would be kept is not enough, most of the sentinels must name its server."""
    async with stub_server(echo) as (_, port), watched(*[naming(port)] * 3) as (sentinels, url), linked(url) as link:
        shard = new_shard(link)
        for one in sentinels[others:]:
            one.answer = saying(NOBODY)

        if is_sure:
            await shard.verify()
        else:
            with pytest.raises(HotStoreUnavailable, match="may not be the primary"):
                await shard.verify()


async def test_shard_asks_the_server_of_the_lineage_alone() -> None:
    """A command that is meant for one server is never sent to another, also not when it is sent again."""
    async with (
        stub_server(hanging_up) as (old, old_port),
        stub_server(echo) as (new, new_port),
        watched(naming(old_port)) as (sentinels, url),
        linked(url) as link,
    ):
        shard = new_shard(link)
        new.lineage = "lineage-2"
        all_name(sentinels, new_port)
        with pytest.raises(HotStoreUnavailable, match="another Redis"):
            await shard.ask("SET", "k", "v", lineage="lineage-1")

        await until(lambda: link.lineage == "lineage-2")
        assert [len(server.commands) for server in (old, new)] == [1, 0]
