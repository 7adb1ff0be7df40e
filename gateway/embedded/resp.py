"""Just enough of the Redis protocol to ask a server on this machine whether it is there.

The launcher stands below the hot store and must not need its connection, nor a client library.
"""

from __future__ import annotations

import socket

from gateway.embedded.address import Address

LINE_BYTES_MAX = 64 * 1024


def ask(address: Address, *words: str, timeout_seconds: float = 1.0) -> str:
    """The first line of the server's answer to one command, its type mark (`+`, `-`, `:`, `$`) included.

    Raises:
        OSError: nobody listens, the answer did not come in time (TimeoutError), or whoever listens does not
            know our password, so it is another server (ConnectionError).
    """
    with _connected(address, timeout_seconds) as connection:
        if address.password:
            connection.sendall(_packed("AUTH", address.password))
            answer = _read_line(connection)
            if answer != "+OK":
                raise ConnectionError(f"the password was refused: {answer}")
        connection.sendall(_packed(*words))
        return _read_line(connection)


def _connected(address: Address, timeout_seconds: float) -> socket.socket:
    if address.socket is None:
        return socket.create_connection(("127.0.0.1", address.port), timeout_seconds)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_seconds)
        connection.connect(bytes(address.socket))
    except BaseException:
        connection.close()
        raise
    return connection


def _packed(*words: str) -> bytes:
    """A command as the protocol wants it: an array of bulk strings."""
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def _read_line(connection: socket.socket) -> str:
    """One line, read byte by byte: what follows belongs to the next answer, and it happens seldom."""
    line = bytearray()
    while not line.endswith(b"\r\n"):
        byte = connection.recv(1)
        if not byte or len(line) > LINE_BYTES_MAX:
            raise ConnectionError("the server closed the connection before its answer was complete")
        line += byte
    return line[:-2].decode(errors="replace")
