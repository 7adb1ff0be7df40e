"""The simulated Redis answers as real servers do: random script calls and plain commands, reply by reply, and the data at the end."""

from __future__ import annotations

import os
import random
import re
import socket
import time
from typing import Any, Final
from urllib.parse import urlsplit

import hiredis
import pytest

from gateway.hot.keys import Keys
from gateway.hot.scripts import Scripts
from gateway.paths import lua_dir
from tests.servers import RedisServers
from tests.simulation.commands import Refusal
from tests.simulation.keyspace import NAMES, SortedSet, Stream
from tests.simulation.loop import SimulatedLoop
from tests.simulation.random_calls import Calls, Command
from tests.simulation.randomness import WALL_S
from tests.simulation.server import RedisServer

#: All of them under `make test-faults`; in `make test` the first fifth.
CALLS: Final = 100_000
CALLS_IN_SHORT: Final = 20_000
PIPELINE: Final = 40
PREFIX: Final = "diff"
SEED_VARIABLE: Final = "SIMULATION_SEED"
#: What a server adds to the text of an error in a script differs between releases; what is before it does not.
DECORATION: Final = re.compile(r"( script: .*)|(, on @user_function.*)")
NUMBER: Final = re.compile(r"-?(\d{16,}|\d+\.\d+|\d+(\.\d+)?e[+-]?\d+)")
#: Lives are counted by a clock of the server that no reply tells.
LIFE_SLACK_MS: Final = 60_000


class RealServer:
    """A connection to a real server; replies as the simulated one gives them."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(parts.path)
        else:
            self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379))
        self._reader = hiredis.Reader(encoding="latin-1", replyError=Refusal)

    def execute(self, *commands: Command) -> list[Any]:
        """The replies, in order."""
        packed = [hiredis.pack_command(tuple(word.encode("latin-1") for word in command)) for command in commands]
        self._socket.sendall(b"".join(packed))
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(65536))
            else:
                replies.append(reply)
        return replies

    def close(self) -> None:
        """The connection is closed."""
        self._socket.close()


def comparable(reply: Any) -> Any:
    """The reply without what releases differ in: the end of an error's text, and how a number is written that doubles can not hold."""
    if isinstance(reply, Refusal):
        text = str(reply).replace("Lua redis lib command arguments", "Command arguments")
        return "refused", DECORATION.sub("", text)
    if isinstance(reply, list):
        return [comparable(one) for one in reply]
    if isinstance(reply, str) and NUMBER.fullmatch(reply):
        return float(reply)
    return reply


class Pair:
    """The same commands to both; the simulated one's clock follows what the real one tells."""

    def __init__(self, url: str, dice: random.Random) -> None:
        self.real = RealServer(url)
        self.simulated = RedisServer(("simulated", 0), SimulatedLoop(), dice, lambda *_: None)
        self.calls = Calls(Scripts(lua_dir()), Keys(PREFIX, 0, 1), dice)
        self.count = 0
        text = self.calls.scripts.text.encode().decode("latin-1")
        # Another test on the same server may have loaded it: what FUNCTION LOAD answers then is compared nowhere.
        self.real.execute(["FUNCTION", "DELETE", self.calls.scripts.library])
        self.run([["FUNCTION", "LOAD", text], self.calls.open(is_right=True)])

    def run(self, commands: list[Command]) -> None:
        """Each was answered alike. Raises AssertionError."""
        replies = self.real.execute(["TIME"], *[word for command in commands for word in (command, ["TIME"])])
        before_ms = _instant_ms(replies[0])
        for command, reply, time_after in zip(commands, replies[1::2], replies[2::2], strict=True):
            after_ms = _instant_ms(time_after)
            seen_ms = self._seen_ms(reply) if command[0] == "FCALL" else None
            if seen_ms is not None and before_ms <= seen_ms <= after_ms:
                before_ms = after_ms = seen_ms
            self.count += 1
            told = self._execute(command, reply, before_ms, after_ms)
            assert comparable(told) == comparable(reply), f"call {self.count}: {command}"
            self.calls.learn(command, reply)
            before_ms = _instant_ms(time_after)

    def _seen_ms(self, reply: Any) -> int | None:
        """The instant of the server's clock that the real script saw, where its reply tells it."""
        if not isinstance(reply, list) or len(reply) < 4 or not str(reply[2]).isdecimal():
            return None
        if reply[1] == "TICKED":
            return int(reply[4]) - int(reply[5])
        # What it tells is the shard's clock. Where that is bounded, it is no instant between those before and after the call.
        meta = self.simulated.keys.values.get(self.calls.keys.meta)
        shift = meta.get("horizon", "").partition(" ")[2] if isinstance(meta, dict) else ""
        return int(reply[2]) - int(shift or 0)

    def _execute(self, command: Command, reply: Any, first_ms: int, last_ms: int) -> Any:
        """The simulated reply. Where the real one does not tell its instant, any that it can have had is right."""
        server = self.simulated
        last_ms = max(first_ms, last_ms)  # the host's clock may be set back by a moment meanwhile
        before = server.keys.copy() if first_ms < last_ms else server.keys
        for now_ms in range(first_ms, last_ms + 1):
            self.set_clock(now_ms)
            told = server.execute(command)
            if now_ms == last_ms or comparable(told) == comparable(reply):
                break
            server.keys = before.copy()
        return told

    def set_clock(self, now_ms: int) -> None:
        """The simulated server's clock says so."""
        self.calls.now_ms = now_ms
        self.simulated.clock_offset_ms = now_ms - (WALL_S + self.simulated.loop.time()) * 1000 + 0.5

    def end_lives(self) -> None:
        """Some keys that have a life have reached its end."""
        mortal = sorted(self.simulated.keys.ends)[:5]
        if mortal:
            self.run([["PEXPIRE", name, "5"] for name in mortal])
            time.sleep(0.02)  # the real server's clock is the only one that can not be moved
            self.run([["EXISTS", name] for name in mortal])

    @property
    def is_open(self) -> bool:
        """Whether there is a shard that answers."""
        meta = self.simulated.keys.values.get(self.calls.keys.meta)
        return isinstance(meta, dict) and meta.get("epoch") == str(self.calls.epoch)

    def begin_anew(self) -> None:
        """Both are empty, and the shard is opened again."""
        self.calls.epoch, self.calls.seq, self.calls.digest = 0, 0, "0" * 40
        self.calls.births.clear()
        self.run([["FLUSHALL"], self.calls.open(is_right=True)])

    def close(self) -> None:
        """Nothing of it is left open."""
        self.real.close()
        self.simulated.loop.close()

    def compare_contents(self) -> None:
        """Both hold the same, with the same lives."""
        now, found = self.real.execute(["TIME"], ["KEYS", "*"])
        self.set_clock(_instant_ms(now))
        names = sorted(found)
        assert names == self.simulated.keys.names()
        for name in names:
            value = self.simulated.keys.values[name]
            kind, life = self.real.execute(["TYPE", name], ["PTTL", name])
            assert kind == NAMES[type(value)], name
            own, real = self._content(name, value), self._real_content(name, kind)
            if name == self.calls.keys.meta:
                # A lease counts from an instant that no reply tells while the shard's clock is bounded.
                assert abs(int(own.get("lease", "0")) - int(real.get("lease", "0"))) < LIFE_SLACK_MS
                own, real = {**own, "lease": ""}, {**real, "lease": ""}
            assert comparable(own) == comparable(real), name
            simulated_life = self.simulated.execute(["PTTL", name])
            assert (life < 0) == (simulated_life < 0), name
            assert abs(life - simulated_life) < LIFE_SLACK_MS, name

    def _real_content(self, name: str, kind: str) -> Any:
        how = {
            "string": ["GET", name],
            "hash": ["HGETALL", name],
            "zset": ["ZRANGE", name, "0", "-1", "WITHSCORES"],
            "stream": ["XRANGE", name, "-", "+"],
        }[kind]
        (found,) = self.real.execute(how)
        return dict(zip(found[::2], found[1::2], strict=True)) if kind == "hash" else found

    def _content(self, name: str, value: Any) -> Any:
        if isinstance(value, SortedSet):
            return self.simulated.execute(["ZRANGE", name, "0", "-1", "WITHSCORES"])
        return self.simulated.execute(["XRANGE", name, "-", "+"]) if isinstance(value, Stream) else value


def _instant_ms(told: list[str]) -> int:
    return int(told[0]) * 1000 + int(told[1]) // 1000


def run_both(url: str, seed: int, count: int) -> None:
    """So many random calls were answered alike, and left the same behind."""
    print(f"differential seed {seed}")
    dice = random.Random(seed)
    pair = Pair(url, dice)
    try:
        while pair.count < count:
            pair.run([pair.calls.next() for _ in range(PIPELINE)])
            if dice.random() < 0.04:
                pair.end_lives()
            if dice.random() < 0.008 or not pair.is_open:
                pair.compare_contents()
                pair.begin_anew()
        pair.compare_contents()
    finally:
        pair.close()


def seed_of_this_run() -> int:
    """That of the environment, else a new one."""
    return int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(10**9))


@pytest.mark.timeout(300)
def test_simulated_redis_answers_as_real_ones_do(redis_id: str, redis_servers: RedisServers) -> None:
    """20,000 random calls, on Valkey and on Redis 7.0: equal replies, refusals and errors, equal data and lives at the end."""
    if redis_id == "given":
        pytest.fail("a given server is not emptied: run this test without GATEWAY_TEST_REDIS_URL")
    run_both(redis_servers.url(redis_id), seed_of_this_run(), CALLS_IN_SHORT)


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_simulated_redis_answers_100000_calls_as_a_real_one_does(redis_servers: RedisServers) -> None:
    """The same for five times as many."""
    run_both(redis_servers.url("valkey"), seed_of_this_run(), CALLS)
