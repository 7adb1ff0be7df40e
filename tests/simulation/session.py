"""One client's connection at a server: bytes in, commands executed in order, replies out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hiredis

from tests.simulation import commands
from tests.simulation.commands import Refusal, Status

if TYPE_CHECKING:
    from tests.simulation.network import Connection
    from tests.simulation.server import RedisServer


class RedisSession:
    """Executes what comes in, one command after the other; a blocking read keeps those behind it waiting."""

    def __init__(self, server: RedisServer, connection: Connection) -> None:
        self.connection = connection
        self._server = server
        self._reader = hiredis.Reader(encoding="latin-1")
        self._waiting: list[list[str]] = []
        self._blocked: tuple[list[str], Any] | None = None

    def receive(self, data: bytes) -> None:
        """These bytes have come in."""
        self._reader.feed(data)
        while (command := self._reader.gets()) is not False:
            self._waiting.append(command)
        self.resume()

    def resume(self) -> None:
        """What waits is executed, if the server runs."""
        server, replies = self._server, []
        while self._waiting and self._blocked is None and server.is_up and not server.is_frozen:
            command = self._waiting.pop(0)
            if command[0].upper() == "XREAD":
                if (found := self._read(command)) is None:
                    self._block(command)
                    break
                replies.append(encode(found))
            else:
                replies.append(encode(server.execute(command, self.connection)))
        if replies:
            self.connection.reply(b"".join(replies))

    def lost(self) -> None:
        """The other end is gone."""
        if self in self._server.sessions:
            self._server.sessions.remove(self)
        self._waiting.clear()

    def _block(self, command: list[str]) -> None:
        timer = self._server.loop.later(int(command[2]) / 1000, self._give_up)
        self._blocked = (command, timer)

    def _give_up(self) -> None:
        if self._blocked is not None:
            self._blocked = None
            self.connection.reply(b"*-1\r\n")
            self.resume()

    def wake(self) -> None:
        """Something was written: a blocking read may have its answer."""
        if self._blocked is None or (found := self._read(self._blocked[0])) is None:
            return
        self._blocked[1].cancel()
        self._blocked = None
        self.connection.reply(encode(found))
        self.resume()

    def _read(self, command: list[str]) -> Any:
        """XREAD BLOCK ms STREAMS key id, which is all that the gateway asks."""
        key, after = command[4], commands.parse_id(command[5])
        self._server.keys.now_ms = self._server.now_us() // 1000
        found = commands.run(self._server.keys, "XRANGE", [key, f"({commands.id_text(after)}", "+"])
        return [[key, found]] if found else None


def encode(reply: Any) -> bytes:
    """The reply as RESP 2."""
    if reply is None:
        return b"$-1\r\n"
    kind = reply.__class__
    if kind is str:
        data = reply.encode("latin-1")
        return b"$%d\r\n%b\r\n" % (len(data), data)
    if kind is list:
        return b"*%d\r\n%b" % (len(reply), b"".join([encode(one) for one in reply]))
    if kind is Status:
        return b"+%b\r\n" % reply.encode()
    if kind is Refusal:
        return b"-%b\r\n" % str(reply).replace("\n", " ").encode("latin-1")
    return b":%d\r\n" % reply


class SentinelSession:
    """One client's connection at a sentinel."""

    def __init__(self, sentinel: Any, connection: Connection) -> None:
        self.connection = connection
        self._sentinel = sentinel
        self._reader = hiredis.Reader(encoding="latin-1")

    def receive(self, data: bytes) -> None:
        """Each question is answered with what this sentinel believes."""
        self._reader.feed(data)
        while (command := self._reader.gets()) is not False:
            named = self._sentinel.named
            is_asked = command[0].upper() == "SENTINEL"
            self.connection.reply(encode([named[0], str(named[1])] if is_asked else Refusal("ERR unknown command")))

    def lost(self) -> None:
        """The other end is gone."""
