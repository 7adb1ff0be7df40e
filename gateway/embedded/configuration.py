"""The configuration file of a private Redis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.embedded.address import Address

PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-:+,@=% ")


def write_configuration(
    path: Path, folder: Path, pid_file: Path, address: Address, settings: Mapping[str, str]
) -> None:
    """The file stands, for its owner alone since it may hold a password; `settings` go over ours."""
    lines = {
        # With a title of its own the command line would lose our folder, by which an orphan is known.
        "set-proc-title": "no",
        "daemonize": "no",
        "dir": str(folder),
        "pidfile": str(pid_file),
        # Empty is standard output, which the launcher turns into the log file.
        "logfile": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "protected-mode": "yes",
        "bind": "127.0.0.1",
    }
    if address.socket is not None:
        lines |= {"port": "0", "unixsocket": str(address.socket), "unixsocketperm": "700"}
    else:
        lines |= {"port": str(address.port), "requirepass": address.password}
    text = "".join(f"{name} {_quoted(value)}\n" for name, value in {**lines, **settings}.items())
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="ascii")


def _quoted(value: str) -> str:
    """A value as the configuration reads it: any byte of a path survives, also a quote or a line end."""
    encoded = value.encode("utf-8", "surrogateescape")
    return '"' + "".join(chr(byte) if byte in PLAIN else f"\\x{byte:02x}" for byte in encoded) + '"'
