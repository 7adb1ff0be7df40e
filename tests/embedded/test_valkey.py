"""The private Redis, on each real server that this machine has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from gateway.embedded import PrivateRedis, ServerFailed, address, valkey
from gateway.embedded.resp import ask
from tests.embedded.gateways import REDIS_GATEWAY, is_alive, running_gateway, seconds_until_gone
from tests.servers import redis_binary, redis_ids


@pytest.fixture(params=[name for name in redis_ids() if name != "given"])
def binary(request: pytest.FixtureRequest) -> Path:
    """Each server that this machine can start."""
    return redis_binary(request.param)


@pytest.fixture
def server(short_path: Path, binary: Path) -> Iterator[PrivateRedis]:
    """A server that is not started yet; ended after the test."""
    private = PrivateRedis(short_path / "redis", binary)
    yield private
    private.stop()


def client_of(server: PrivateRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_start_answers_within_two_seconds(server: PrivateRedis) -> None:
    """A start is quick enough to stand in front of every `gateway serve`: one of three, as a machine may stand still in another."""
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        server.start()
        seconds.append(time.monotonic() - begun)
        assert ask(server.address, "PING") == "+PONG"
        server.stop()

    assert min(seconds) < 2


def test_start_configures_what_the_gateway_relies_on(server: PrivateRedis) -> None:
    """The file is append-only and flushed each second, nothing is evicted, no port is open."""
    server.start()

    with client_of(server) as client:
        settings = client.config_get("*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["save"] == ""
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["port"] == "0"
    assert server.url == f"unix://{server.folder}/redis.sock"
    assert server.folder.stat().st_mode & 0o777 == 0o700


def test_stop_keeps_everything_for_the_next_start(server: PrivateRedis) -> None:
    """What was written before a stop is there after the next start, and no pid or socket file stays."""
    server.start()
    with client_of(server) as client:
        client.mset({f"key{number}": number for number in range(1000)})
    code = server.stop()
    left = {path.name for path in server.folder.iterdir()}

    server.start()

    assert code == 0
    assert not left & {"server.pid", "redis.sock"}
    with client_of(server) as client:
        assert client.dbsize() == 1000


def test_start_after_a_killed_server_keeps_every_answered_write(server: PrivateRedis) -> None:
    """A kill -9 of the server loses nothing that it answered; its stale pid and socket are no obstacle."""
    server.start()
    with client_of(server) as client:
        client.set("answered", "yes")
    assert server._process is not None
    server._process.kill()
    server._process.wait()
    assert (server.folder / "redis.sock").exists()
    assert (server.folder / "server.pid").exists()

    server.start()

    with client_of(server) as client:
        assert client.get("answered") == "yes"


@pytest.mark.parametrize("name", ["redis", "x" * 100], ids=["socket", "port"])
def test_relaunch_after_a_kill_is_at_the_same_address_with_every_answered_write(
    short_path: Path, binary: Path, name: str
) -> None:
    """Whoever knew the address, password included, finds the server there again."""
    server = PrivateRedis(short_path / name, binary)
    server.start()
    try:
        before, was_ended = server.url, server.has_ended
        ask(server.address, "SET", "answered", "yes")
        assert server._process is not None
        server._process.kill()
        server._process.wait()
        has_ended, code = server.has_ended, server.exit_code

        server.relaunch()
        server.wait_ready()

        assert (was_ended, has_ended, code) == (False, True, -9)
        assert (server.url, server.has_ended, server.exit_code) == (before, False, None)
        with client_of(server) as client:
            assert client.get("answered") == "yes"
    finally:
        server.stop()
    assert not server.has_ended


def test_relaunch_before_any_start_and_beside_a_running_server_is_refused(server: PrivateRedis) -> None:
    """There is no address to keep, or somebody is there."""
    with pytest.raises(RuntimeError, match="not been started"):
        server.relaunch()
    server.start()
    with pytest.raises(RuntimeError, match="runs already"):
        server.relaunch()

    assert ask(server.address, "PING") == "+PONG"


def test_start_spares_a_foreign_process_with_the_stale_pid(server: PrivateRedis) -> None:
    """A pid that is used again by another program is not ours to end: a pid file proves nothing alone."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        server.folder.mkdir()
        (server.folder / "server.pid").write_text(f"{stranger.pid}\n")

        server.start()

        assert stranger.poll() is None
        assert ask(server.address, "PING") == "+PONG"
        stranger.kill()


@pytest.mark.parametrize("content", ["", "abc\n", "-1\n", "0\n", "99999999999\n"])
def test_start_survives_a_damaged_pid_file(server: PrivateRedis, content: str) -> None:
    """Whatever stands in the pid file, no process is signalled and the server starts."""
    server.folder.mkdir()
    (server.folder / "server.pid").write_text(content)

    server.start()

    assert ask(server.address, "PING") == "+PONG"


@contextmanager
def orphan_of(server: PrivateRedis) -> Iterator[subprocess.Popen[bytes]]:
    """A server of this folder without a leash, as one stays where the system has none; it holds one key."""
    server.start()
    server.stop()
    process = subprocess.Popen([server.binary, server.folder / "server.conf"], start_new_session=True)
    # Its parent reaps it as soon as it ends, as init would.
    threading.Thread(target=process.wait, daemon=True).start()
    try:
        deadline = time.monotonic() + 30
        while set_key(server, "orphan", "kept") != "+OK":
            assert time.monotonic() < deadline, "the orphan did not start"
        yield process
    finally:
        process.kill()


def set_key(server: PrivateRedis, name: str, value: str) -> str:
    """What the server answers, or why it does not."""
    try:
        return ask(server.address, "SET", name, value)
    except OSError as exc:
        time.sleep(0.01)
        return str(exc)


@pytest.mark.parametrize("has_pid_file", [True, False])
def test_start_ends_a_live_orphan_and_keeps_its_writes(server: PrivateRedis, has_pid_file: bool) -> None:
    """Two servers never write one file: the older one, known by pid file or socket, is ended first."""
    with orphan_of(server) as orphan:
        if not has_pid_file:
            (server.folder / "server.pid").unlink()

        server.start()

        assert not is_alive(orphan.pid)
        assert server.pid != orphan.pid
    with client_of(server) as client:
        assert client.get("orphan") == "kept"


def test_start_ends_a_live_orphan_on_a_port(short_path: Path, binary: Path) -> None:
    """An orphan whose password nobody knows any more is known by its pid file and command line."""
    server = PrivateRedis(short_path / ("x" * 100), binary)
    with orphan_of(server) as orphan:
        server.start()

        was_ended = not is_alive(orphan.pid)
        with client_of(server) as client:
            value = client.get("orphan")
        server.stop()
    assert was_ended
    assert value == "kept"


def test_server_ends_with_its_killed_gateway(short_path: Path, binary: Path) -> None:
    """A gateway that is killed with -9 leaves no server behind, and the next start has its data."""
    folder = short_path / "redis"
    with running_gateway(REDIS_GATEWAY, folder, binary) as gateway:
        assert ask(address.Address(socket=folder / "redis.sock"), "SET", "before", "crash") == "+OK"
        gateway.kill()
        seconds_until_gone(gateway.server_pid)
    server = PrivateRedis(folder, binary)
    server.start()

    with client_of(server) as client:
        value = client.get("before")
    server.stop()

    assert value == "crash"


def test_start_at_once_after_a_killed_gateway_waits_for_its_server(short_path: Path, binary: Path) -> None:
    """A restart that meets the server while it is still ending does not start a second one beside it."""
    folder = short_path / "redis"
    with running_gateway(REDIS_GATEWAY, folder, binary) as gateway:
        ask(address.Address(socket=folder / "redis.sock"), "SET", "before", "crash")
        gateway.kill()
        server = PrivateRedis(folder, binary)
        server.start()

        was_alone = not is_alive(gateway.server_pid)
        with client_of(server) as client:
            value = client.get("before")
        server.stop()

    assert was_alone
    assert value == "crash"


def test_ctrl_c_does_not_reach_the_server(short_path: Path, binary: Path) -> None:
    """The terminal's signal goes to the gateway alone, which drains first and ends its server itself."""
    folder = short_path / "redis"
    with running_gateway(REDIS_GATEWAY, folder, binary) as gateway:
        said = gateway.interrupt_group()

        assert said == "interrupted"
        assert ask(address.Address(socket=folder / "redis.sock"), "PING") == "+PONG"
        assert os.getsid(gateway.server_pid) == gateway.server_pid


def test_start_where_the_path_is_too_long_uses_a_port_with_a_password(short_path: Path, binary: Path) -> None:
    """Without a socket the server listens on loopback alone and refuses who does not know the password."""
    server = PrivateRedis(short_path / ("x" * 100) / "redis", binary)
    server.start()
    try:
        with client_of(server) as client:
            bound = client.config_get("bind")["bind"]
            client.set("reached", "yes")
        with socket.create_connection(("127.0.0.1", server.address.port)) as stranger:
            stranger.sendall(b"GET reached\r\n")
            answer = stranger.recv(100)
    finally:
        server.stop()

    assert bound == "127.0.0.1"
    assert answer.startswith(b"-NOAUTH")
    assert (server.folder / "server.conf").stat().st_mode & 0o777 == 0o600


def test_ask_refuses_a_server_that_does_not_know_our_password(short_path: Path, binary: Path) -> None:
    """Another program's Redis on our port is not taken for ours, though it would answer a PING."""
    port = address.free_port()
    stranger = PrivateRedis(short_path / "stranger", binary, {"port": str(port)})
    stranger.start()

    with pytest.raises(ConnectionError, match="password"):
        ask(address.Address(port=port, password="ours"), "PING")

    assert ask(address.Address(port=port), "PING") == "+PONG"
    stranger.stop()


def test_start_where_the_port_was_taken_tries_another(
    short_path: Path, binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may take the port between our choice and the server's: the start goes on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken_port = taken.getsockname()[1]
        free = address.free_port()
        ports = iter([taken_port, free])
        monkeypatch.setattr(address, "free_port", lambda: next(ports))
        server = PrivateRedis(short_path / ("x" * 100), binary)

        server.start()

        port = server.address.port
        server.stop()
    assert port == free


@pytest.mark.parametrize("name", ["two words", 'quo"te', "per%20cent", "zäh", "line\nend", "#x?y=z"])
def test_start_in_a_folder_with_an_unusual_name(short_path: Path, binary: Path, name: str) -> None:
    """Any path that the file system takes is taken, and the URL leads a client library there."""
    server = PrivateRedis(short_path / name / "redis", binary)

    server.start()

    with client_of(server) as client:
        directory = client.config_get("dir")["dir"]
    server.stop()
    assert directory == str(short_path / name / "redis")


def test_start_that_fails_tells_the_server_s_last_words(short_path: Path, binary: Path) -> None:
    """What the server said before it ended stands in the error, and nothing is left running."""
    server = PrivateRedis(short_path / "redis", binary, {"no-such-setting": "1"})

    with pytest.raises(ServerFailed, match="no-such-setting"):
        server.start()

    assert not server.is_running


def test_start_waits_while_a_big_file_is_loaded(server: PrivateRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says it is loading gets more time than one that says nothing."""
    server.start()
    with client_of(server) as client, client.pipeline(transaction=False) as pipeline:
        for number in range(2000):
            pipeline.set(f"key{number}", "x" * 100)
        pipeline.execute()
    server.stop()
    # The server pauses two milliseconds at each key that it loads, so this takes four seconds at least.
    slow = PrivateRedis(
        server.folder,
        server.binary,
        {"key-load-delay": "2000", "loading-process-events-interval-bytes": "1024"},
    )
    slow.launch()
    until_said(slow, "-LOADING")
    monkeypatch.setattr(valkey, "ANSWER_SECONDS_MAX", 0.1)
    begun = time.monotonic()

    slow.wait_ready()

    seconds = time.monotonic() - begun
    with client_of(slow) as client:
        loaded = client.dbsize()
    slow.stop()
    assert seconds > 0.2
    assert loaded == 2000


def until_said(server: PrivateRedis, word: str) -> None:
    """A PING to the server is answered so."""
    deadline = time.monotonic() + 30
    while not server._ping().startswith(word):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_start_gives_up_on_a_server_that_never_answers(
    short_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait has an end, and the silent process is ended with it."""
    silent = tmp_path / "silent-server"
    silent.write_text("#!/bin/sh\necho I have nothing to say\nexec sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setattr(valkey, "ANSWER_SECONDS_MAX", 0.3)
    server = PrivateRedis(short_path / "redis", silent)
    ping = PrivateRedis._ping

    def ping_when_it_has_said_so(asked: PrivateRedis) -> str:
        deadline = time.monotonic() + 30
        while "nothing to say" not in server.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return ping(asked)

    monkeypatch.setattr(PrivateRedis, "_ping", ping_when_it_has_said_so)

    with pytest.raises(ServerFailed, match="I have nothing to say"):
        server.start()

    assert not server.is_running


def test_start_from_another_thread_is_refused(server: PrivateRedis) -> None:
    """The kernel would end the server with that thread, so the mistake is told at once."""
    caught: list[Exception] = []

    def start() -> None:
        try:
            server.start()
        except RuntimeError as exc:
            caught.append(exc)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert len(caught) == 1
    assert "main thread" in str(caught[0])


def test_stop_before_any_start_and_twice_is_harmless(server: PrivateRedis) -> None:
    """A shutdown path may call stop whatever happened before."""
    before = server.stop()
    server.start()

    assert before is None
    assert server.stop() == 0
    assert server.stop() == 0
    assert server.pid is None
