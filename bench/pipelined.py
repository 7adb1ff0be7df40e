"""How often per second Redis runs one call, `PIPELINE` of them in each write: by redis-benchmark, or by our own client.

Redis-benchmark has the web worker's processor, as a gateway would: Redis keeps its own. Our own client is slower, as it is Python
and shares the processor of Redis.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import hiredis

from bench.failure import LoadFailure
from bench.processors import give_room
from bench.scripts import PIPELINE
from gateway.embedded.address import Address

CONNECTIONS = 50  # redis-benchmark's own choice
SECONDS_MAX = 120.0
RECEIVED_BYTES_MAX = 1 << 16
#: redis-benchmark puts twelve digits in the place of each; two make a number that no other call has.
RANDOM = "__rand_int__"
RANDOM_MAX = 2_000_000_000  # it keeps this in 31 bits


@dataclass(frozen=True)
class Pipelined:
    """What a client did in how long."""

    calls: int
    seconds: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0


def name() -> str:
    """The client that is used here."""
    return "own pipelining client" if shutil.which("redis-benchmark") is None else "redis-benchmark"


def play(address: Address, call_of: Callable[[str], list[str]], count: int) -> Pipelined:
    """`count` calls were answered by the Redis there; `call_of` makes the words of one from a random part.

    Raises:
        LoadFailure: the client ended badly.
    """
    if shutil.which("redis-benchmark") is None:
        return play_own(address, call_of, count)
    return _play_benchmark(address, call_of(RANDOM * 2), count)


def _play_benchmark(address: Address, call: list[str], count: int) -> Pipelined:
    options = ["-s", str(address.socket)] if address.socket else ["-p", str(address.port), "-a", address.password]
    options += ["-c", str(CONNECTIONS), "-P", str(PIPELINE), "-n", str(count), "-r", str(RANDOM_MAX)]
    command = ["redis-benchmark", "--csv", *options, *call]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as ran:
        give_room(ran.pid)
        try:
            told, _ = ran.communicate(timeout=SECONDS_MAX)
        except BaseException:
            ran.kill()
            raise
    found = parsed(told, count)
    if ran.returncode != 0 or found is None:
        raise LoadFailure(f"redis-benchmark ended with code {ran.returncode}:\n{told[-2000:]}")
    return found


def parsed(told: str, count: int) -> Pipelined | None:
    """What redis-benchmark tells with `--csv` of so many calls; None where it told something else.

    Behind the name of the test, which is the whole call and may have several lines: calls per second, then in ms the average, the
    least, p50, p95, p99 and the longest latency.
    """
    fields = told.rstrip().rstrip('"').split('","')[-7:]
    try:
        rate, _, _, p50_ms, _, p99_ms, _ = map(float, fields)
    except ValueError:
        return None
    return Pipelined(count, count / rate, p50_ms, p99_ms) if rate > 0 else None


def play_own(address: Address, call_of: Callable[[str], list[str]], count: int) -> Pipelined:
    """As `play`, by a client of ours. Every answer is read and must not be an error. Calls are packed before the clock starts."""
    packets, reader = [*_packets(call_of, count)], hiredis.Reader()
    sent = answered = 0
    with _connected(address) as wire:
        began_s = time.perf_counter()
        while answered < count:
            while sent < len(packets) and sent * PIPELINE - answered < CONNECTIONS * PIPELINE:
                wire.sendall(packets[sent])
                sent += 1
            if not (told := wire.recv(RECEIVED_BYTES_MAX)):
                raise LoadFailure("Redis has closed the connection")
            reader.feed(told)
            while (reply := reader.gets()) is not False:
                if isinstance(reply, hiredis.ReplyError):
                    raise LoadFailure(f"a call answered {reply}")
                answered += 1
        return Pipelined(count, time.perf_counter() - began_s)


def _connected(address: Address) -> socket.socket:
    if address.socket:
        wire = socket.socket(socket.AF_UNIX)
        wire.connect(str(address.socket))
        return wire
    wire = socket.create_connection(("127.0.0.1", address.port))
    wire.sendall(hiredis.pack_command(("AUTH", address.password)))  # type: ignore[arg-type]
    if not wire.recv(RECEIVED_BYTES_MAX).startswith(b"+OK"):
        raise LoadFailure("Redis does not take its own password")
    return wire


def _packets(call_of: Callable[[str], list[str]], count: int) -> Iterator[bytes]:
    salt = secrets.token_hex(6)
    for first in range(0, count, PIPELINE):
        numbers = range(first, min(first + PIPELINE, count))
        yield b"".join(hiredis.pack_command(tuple(call_of(f"{salt}{at:012d}"))) for at in numbers)  # type: ignore[arg-type]
