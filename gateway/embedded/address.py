"""Where a private server listens, so that nobody but this user's processes reaches it."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

# The kernel allows 108 bytes for the path of a socket on Linux and 104 on macOS, the end mark included.
SOCKET_PATH_BYTES_MAX = 100


@dataclass(frozen=True)
class Address:
    """A unix socket in a private folder, or a port of 127.0.0.1 with a password."""

    socket: Path | None = None
    port: int = 0
    password: str = ""

    @property
    def url(self) -> str:
        """The form that a client library takes; what is special in a URL is percent-encoded in the path."""
        if self.socket is not None:
            return f"unix://{quote(str(self.socket))}"
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


def choose_address(socket_path: Path) -> Address:
    """The socket, where one can be made; else a free port with a new password.

    A port is open to every user of the machine, hence the password, and slower by a tenth or more.
    """
    if can_hold_socket(socket_path):
        return Address(socket=socket_path)
    return Address(port=free_port(), password=secrets.token_urlsafe(32))


def can_hold_socket(path: Path) -> bool:
    """Whether a unix socket can be made there: the path is short enough, the file system knows sockets.

    Nothing may stand at the path yet, and nothing is left there.
    """
    if len(bytes(path)) > SOCKET_PATH_BYTES_MAX:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(bytes(path))
        except OSError:
            return False
    path.unlink()
    return True


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now; another process may take it first: see `lost_port`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def lost_port(log_lines: list[str]) -> bool:
    """Whether a server that failed says that its port is taken: then another port is worth another try."""
    return any("in use" in line for line in log_lines)
