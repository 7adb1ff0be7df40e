"""The connection: replies in order, what is lost told as lost, what never left as not sent, and back again by itself."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
import uvloop

from gateway.hot.connection import Lost, NotSent, QueueFull, Refused, Reply, ReplyError, SocketLink
from tests.hot.links import linked, new_link
from tests.hot.stub import Close, array, bulk, handler_server, proxied, stub_server, stubbed, until

PONG = b"+PONG\r\n"
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
ATTEMPTS = 8
PAUSES_S_MIN = 0.15  # before the last of them: half of 10, 20, 40 and then 80 ms at least, with some room


def is_up(link: SocketLink) -> bool:
    """Whether there is a connection that has not ended."""
    return link._wire is not None and not link._wire.lost.done()


def silent(_command: list[str]) -> bytes:
    """A server that never answers."""
    return b""


def echo(command: list[str]) -> bytes:
    """A server that tells each command its last word."""
    return bulk(command[-1])


@pytest.mark.parametrize("loop", LOOPS)
def test_replies_in_order_under_cancellation_belong_to_their_callers(loop: str) -> None:
    """1000 calls at random moments, a third of them cancelled: nobody ever gets another's reply."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")

    async def walk() -> tuple[int, int]:
        chance = random.Random(seed)
        foreign = answered = 0

        async def one(n: int) -> None:
            nonlocal foreign, answered
            await asyncio.sleep(chance.random() / 50)
            reply = await link.call("ECHO", f"nonce-{n}")
            answered += 1
            foreign += reply != f"nonce-{n}"

        async with stubbed(echo) as (_, link):
            tasks = [asyncio.create_task(one(n)) for n in range(1000)]
            for task in chance.sample(tasks, 333):
                await asyncio.sleep(chance.random() / 10_000)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            last = await link.call("ECHO", "last")
        assert last == "last"
        return foreign, answered

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        foreign, answered = runner.run(walk())

    assert foreign == 0
    assert answered >= 600


@pytest.mark.parametrize("loop", LOOPS)
def test_large_commands_arrive_whole_and_in_order(loop: str) -> None:
    """More than the kernel takes at once: what is left over follows, and small commands do not overtake it."""

    async def walk() -> list[int]:
        def length(command: list[str]) -> bytes:
            return b":%d\r\n" % len(command[-1])

        async with stubbed(length, timeout_ms=10_000) as (_, link):
            calls = []
            for n in range(20):
                calls.append(link.call("SET", "k", "x" * (500_000 + n)))
                link.flush()
                calls.append(link.call("SET", "k", "y" * n))
                if n % 3 == 0:
                    await asyncio.sleep(0)
            return list(await asyncio.gather(*calls))

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        lengths = runner.run(walk())

    assert lengths == [size for n in range(20) for size in (500_000 + n, n)]


async def test_one_tick_is_one_write() -> None:
    """All commands of one tick arrive together, in the order they were called."""
    async with stubbed(echo) as (server, link):
        replies = await asyncio.gather(*[link.call("ECHO", str(n)) for n in range(500)])

        assert replies == [str(n) for n in range(500)]
        assert [command[1] for command in server.commands] == replies


async def test_flush_sends_before_the_tick_is_over() -> None:
    """What was called leaves at once: the server has it although this coroutine never waited."""
    async with stubbed(echo) as (_, link):
        future = link.call("ECHO", "now")
        wire = link._wire
        assert wire is not None
        assert wire._unsent

        link.flush()

        assert not wire._unsent
        assert await future == "now"


async def test_reply_in_single_bytes_is_put_together() -> None:
    """A reply may come in pieces of any size."""
    raw = array("a", "bc", "") + b":7\r\n$-1\r\n"

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(bulk("role:master\r\nmaster_replid:x\r\n"))
        await reader.read(1 << 16)
        for n in range(len(raw)):
            writer.write(raw[n : n + 1])
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async with handler_server(drip) as port, linked(f"redis://127.0.0.1:{port}") as link:
        replies = await asyncio.gather(link.call("A"), link.call("B"), link.call("C"))

    assert replies == [["a", "bc", ""], 7, None]


async def test_error_reply_is_that_calls_error_alone() -> None:
    """An error reply is raised to its caller with its first word; the neighbours get theirs."""

    def answer(command: list[str]) -> bytes:
        return b"-OOM command not allowed\r\n" if command[1] == "2" else echo(command)

    async with stubbed(answer) as (_, link):
        one, two, three = await asyncio.gather(*[link.call("ECHO", str(n)) for n in (1, 2, 3)], return_exceptions=True)

    assert (one, three) == ("1", "3")
    assert isinstance(two, ReplyError)
    assert (two.word, str(two)) == ("OOM", "OOM command not allowed")


async def test_server_hangs_up_what_was_sent_is_lost() -> None:
    """A connection that ends with replies outstanding: every caller learns that its reply is lost."""

    def answer(command: list[str]) -> bytes:
        if command[1] == "2":
            raise Close
        return echo(command)

    async with stubbed(answer) as (_, link):
        outcomes = await asyncio.gather(*[link.call("ECHO", str(n)) for n in (1, 2, 3)], return_exceptions=True)

    assert [type(outcome) for outcome in outcomes[1:]] == [Lost, Lost]


async def test_lost_reply_of_a_real_server_had_its_effect_once(valkey_url: str) -> None:
    """The command ran, the reply did not come: Lost, and the link does not send it again by itself."""
    async with proxied(valkey_url) as (proxy, url), linked(url) as link:
        proxy.swallow = 1
        with pytest.raises(Lost):
            await link.call("INCR", "n")
        assert await link.wait_connected(30)
        await until(lambda: is_up(link))

        assert await link.call("GET", "n") == "1"


async def test_call_after_the_connection_ended_is_never_left_waiting() -> None:
    """Who learns that a reply is lost and calls again at once gets an answer or an error, never silence."""
    fails = 1

    def answer(command: list[str]) -> bytes:
        nonlocal fails
        if fails:
            fails -= 1
            raise Close
        return echo(command)

    async with stubbed(answer) as (_, link):
        with pytest.raises(Lost):
            await link.call("ECHO", "first")

        async with asyncio.timeout(20):
            reply = await answered(link)

    assert reply == "again"


async def test_dropped_before_it_left_is_not_sent() -> None:
    """A command that waits for its tick's end when the connection is given up did not leave: NotSent, not Lost."""
    async with stubbed(echo) as (server, link):
        sent = link.call("ECHO", "sent")
        link.flush()
        unsent = link.call("ECHO", "unsent")

        link.drop()

        outcomes = await asyncio.gather(sent, unsent, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert [type(outcome) for outcome in outcomes] == [Lost, NotSent]
        assert "unsent" not in [command[-1] for command in server.commands]


async def test_not_connected_is_not_sent() -> None:
    """Before the start and after the close a call raises NotSent at once."""
    async with stub_server(echo) as (_, port):
        link = new_link(f"redis://127.0.0.1:{port}")
        with pytest.raises(NotSent, match="not connected"):
            link.call("PING")
        await link.start()
        await link.close()

        with pytest.raises(NotSent):
            link.call("PING")


async def test_close_tells_who_waits_and_nobody_waits_for_it_after() -> None:
    """Closing: replies under way are lost; afterwards there is no connection to wait for."""
    async with stub_server(silent) as (_, port):
        link = new_link(f"redis://127.0.0.1:{port}")
        await link.start()
        future = link.call("PING")
        link.flush()

        await link.close()

        with pytest.raises(Lost):
            await future
        assert not await link.wait_connected(0.02)


async def answered(link: SocketLink) -> Reply:
    """The reply to one more call, however often a link with little patience loses it on a busy machine."""
    while True:
        try:
            return await link.call("ECHO", "again")
        except (NotSent, Lost):
            assert await link.wait_connected(30)
            await asyncio.sleep(0)


async def test_timeout_loses_the_connection_and_all_who_wait() -> None:
    """A server that does not answer: after the timeout all are Lost, and a new connection is made."""
    async with stubbed(silent, timeout_ms=100) as (server, link), asyncio.timeout(30):
        began = time.monotonic()
        outcomes = await asyncio.gather(*[link.call("ECHO", str(n)) for n in range(3)], return_exceptions=True)
        took_s = time.monotonic() - began

        server.answer = echo
        again = await answered(link)

    assert [type(outcome) for outcome in outcomes] == [Lost] * 3
    assert took_s >= 0.1
    assert again == "again"
    assert server.connections >= 2


async def test_timeout_counts_a_cancelled_call_too() -> None:
    """A caller that went away does not hide that the server has stopped answering."""
    async with stubbed(silent, timeout_ms=100) as (server, link):
        link.call("ECHO", "gone").cancel()

        await until(lambda: server.connections >= 2)


@pytest.mark.parametrize(
    "reply",
    [b"?what\r\n", b"$5\r\nab\xff\xfe\xff\r\n", b"+one\r\n+two too many\r\n"],
    ids=["garbage", "no utf-8", "unasked"],
)
async def test_reply_that_can_not_be_right_ends_the_connection(reply: bytes) -> None:
    """What is not the protocol, not text, or not asked for: the connection is not trusted any more, a new one is made."""
    is_bad = True

    def answer(command: list[str]) -> bytes:
        nonlocal is_bad
        was_bad, is_bad = is_bad, False
        return reply if was_bad else echo(command)

    async with stubbed(answer) as (server, link):
        (outcome,) = await asyncio.gather(link.call("ECHO", "x"), return_exceptions=True)
        await until(lambda: server.connections == 2 and is_up(link))

        assert isinstance(outcome, Lost) or outcome == "one"
        assert await link.call("ECHO", "y") == "y"


async def test_queue_full_refuses_at_once() -> None:
    """With pending_max replies outstanding the next call is QueueFull, which is NotSent; a reply makes room."""
    async with stubbed(silent, pending_max=3) as (_, link):
        waiting = [link.call("ECHO", str(n)) for n in range(3)]

        with pytest.raises(QueueFull):
            link.call("ECHO", "4")

        assert link.pending == 3
        assert issubclass(QueueFull, NotSent)
        link.drop()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_queue_counts_cancelled_calls_until_their_reply() -> None:
    """A cancelled call keeps its place: it can not be used to send without bound."""
    async with stubbed(silent, pending_max=2) as (_, link):
        for n in range(2):
            link.call("ECHO", str(n)).cancel()

        with pytest.raises(QueueFull):
            link.call("ECHO", "3")


async def test_reconnect_comes_back_with_growing_pauses() -> None:
    """While the server is away the link tries again and again, more slowly, never in a tight loop, and says why it fails."""
    async with stubbed(echo, reconnect_ms_max=80) as (server, link):
        server.is_refusing = True
        server.hang_up()
        before, began = server.connections, time.monotonic()
        await until(lambda: server.connections - before >= ATTEMPTS)
        took_s = time.monotonic() - began
        with pytest.raises(NotSent):
            link.call("PING")
        problem = link.problem

        server.is_refusing = False
        assert await link.wait_connected(30)
        reply = await link.call("ECHO", "back")

    assert took_s >= PAUSES_S_MIN
    assert "Lost" in problem
    assert reply == "back"


async def test_reconnect_to_a_server_that_takes_and_drops_is_no_tight_loop() -> None:
    """A server that greets and then hangs up each time is tried with pauses, too."""
    hang_up = True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(1 << 16)
        writer.write(bulk("role:master\r\nmaster_replid:x\r\n"))
        if hang_up:
            await writer.drain()
        else:
            await reader.read()

    connections = 0
    async with handler_server(serve) as port, linked(f"redis://127.0.0.1:{port}", reconnect_ms_max=50):
        await asyncio.sleep(0.3)
        seen = connections
        hang_up = False

    assert seen <= 40


async def test_reconnect_learns_the_lineage_anew() -> None:
    """A restarted or promoted server has another lineage, and the link knows before any call uses it."""
    async with stubbed(echo) as (server, link):
        before = link.lineage
        server.lineage = "lineage-2"
        server.hang_up()
        await until(lambda: link.lineage != before)

        assert (before, link.lineage) == ("lineage-1", "lineage-2")


async def test_start_without_server_raises() -> None:
    """Nobody listens: OSError at once, and the link can be started when somebody does."""
    async with stub_server(echo) as (_, port):
        pass

    with pytest.raises(ConnectionRefusedError):
        await new_link(f"redis://127.0.0.1:{port}").start()


async def test_start_at_a_server_that_says_nothing_ends_in_time() -> None:
    """The greeting has a time of its own."""

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()

    async with handler_server(never) as port:
        async with asyncio.timeout(30) as patience:
            with pytest.raises(TimeoutError):
                await new_link(f"redis://127.0.0.1:{port}", connect_timeout_ms=100).start()

    assert not patience.expired()


async def test_start_at_a_replica_is_refused() -> None:
    """A replica is not one to work with; the message says what it is."""
    async with stub_server(echo) as (server, port):
        server.role_text = "role:slave\r\nmaster_replid:{lineage}\r\n"

        with pytest.raises(Refused, match="slave"):
            await new_link(f"redis://127.0.0.1:{port}").start()


async def test_primary_that_became_a_replica_is_left() -> None:
    """After a reconnect to what is now a replica no call is sent; back as a primary it serves again."""
    async with stubbed(echo) as (server, link):
        server.role_text = "role:slave\r\nmaster_replid:{lineage}\r\n"
        server.hang_up()
        await until(lambda: "slave" in link.problem)
        with pytest.raises(NotSent, match="slave"):
            link.call("PING")

        server.role_text = "role:master\r\nmaster_replid:{lineage}\r\n"
        assert await link.wait_connected(30)
