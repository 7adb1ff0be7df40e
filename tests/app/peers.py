"""Servers that are no Redis to work with: they answer by a script, each connection in a thread of its own."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[bytes], bytes | None]


@contextmanager
def peer(answer: Answer) -> Iterator[str]:
    """The address of a server that answers what `answer` makes of each piece it receives; None ends the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while (received := connection.recv(65_536)) and (said := answer(received)) is not None:
                connection.sendall(said)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(10)
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for thread in threads:
            thread.join()


def bulk(text: str) -> bytes:
    """The text as RESP has it."""
    return f"${len(text)}\r\n{text}\r\n".encode()


def redis_of_version(version: str) -> Answer:
    """A Redis of this version that says what INFO says, and takes a login."""
    lines = [f"redis_version:{version}", "role:master", "master_replid:abc", "maxmemory_policy:noeviction"]
    told = bulk("\r\n".join(["# Server", *lines, ""]))
    replies = {b"INFO": told, b"CLIENT": b":1\r\n", b"AUTH": b"+OK\r\n", b"SELECT": b"+OK\r\n"}

    def answer(received: bytes) -> bytes:
        commands = re.findall(rb"\*\d+\r\n\$\d+\r\n(\w+)", received)
        return b"".join(replies.get(command.upper(), b"-ERR unknown command\r\n") for command in commands)

    return answer


def closes(_: bytes) -> bytes | None:
    """A server that hangs up at the first word."""
    return None


def speaks_http(_: bytes) -> bytes | None:
    """A server of another trade."""
    return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def says_nothing(_: bytes) -> bytes | None:
    """A server that hangs."""
    return b""
