"""A wire between the gateway and Redis that loses answers, breaks, or holds what was sent until long after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class LossyWire:
    """A listener on a unix socket that passes on to a server's, both ways.

    `lose` drops one in so many answers, and with each the connection. `hold` keeps what the gateway sends next from the server,
    and breaks the connection to the gateway; `deliver` hands it over all the same.
    """

    def __init__(self, server: str, rng: random.Random) -> None:
        self.lost = 0
        self._one_in = 0
        self._until_loss = 0
        self._server = server
        self._rng = rng
        self._holds = False
        self._held: list[tuple[asyncio.StreamWriter, asyncio.StreamReader, bytes]] = []
        self.is_held = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    def lose(self, one_in: int) -> None:
        """From now on one in so many answers is lost, on the average and at irregular distances; 0 = none."""
        self._one_in = one_in
        self._until_loss = self._rng.randint(1, max(2 * one_in - 1, 1))

    def _is_lost(self) -> bool:
        self._until_loss -= 1
        if self._one_in == 0 or self._until_loss > 0:
            return False
        self.lost += 1
        self.lose(self._one_in)
        return True

    def hold(self) -> None:
        """The next command is held back, and its sender sees the connection break."""
        self._holds = True
        self.is_held.clear()

    async def deliver(self) -> list[bytes]:
        """What was held back reaches the server now, on the connection it was meant for.

        Returns what the server says to it: nothing where it has ended that connection by now.
        """
        answers: list[bytes] = []
        held, self._held = self._held, []
        for forth, back, kept in held:
            said = b""
            with suppress(OSError):
                forth.write(kept)
                await forth.drain()
                said = await back.read(65_536)
            answers.append(said)
            forth.close()
        return answers

    async def serve(self, client: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it or an answer is lost."""
        server, asking = await asyncio.open_unix_connection(self._server)
        self._writers |= {answering, asking}
        ways = {
            asyncio.create_task(self._forth(client, asking, server)),
            asyncio.create_task(self._back(server, answering)),
        }
        # At the end of a test this is cancelled, and the stream's own callback stumbles over a cancelled task.
        with suppress(asyncio.CancelledError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        answering.close()
        if not any(asking is held for held, _, _ in self._held):
            asking.close()

    async def end(self) -> None:
        """Every connection is closed."""
        for writer in self._writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _forth(
        self, client: asyncio.StreamReader, asking: asyncio.StreamWriter, server: asyncio.StreamReader
    ) -> None:
        while chunk := await client.read(65_536):
            if self._holds and b"FCALL" in chunk:
                self._holds = False
                self._held.append((asking, server, chunk))
                self.is_held.set()
                return
            asking.write(chunk)
            await asking.drain()

    async def _back(self, server: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        while chunk := await server.read(65_536):
            if self._is_lost():
                return
            answering.write(chunk)
            await answering.drain()


@asynccontextmanager
async def lossy_wire(url: str, folder: Path, rng: random.Random) -> AsyncIterator[tuple[LossyWire, str]]:
    """A wire before the server of a unix:// URL, and the URL that leads through it."""
    wire = LossyWire(url.removeprefix("unix://").partition("?")[0], rng)
    path = folder / "wire.sock"
    listener = await asyncio.start_unix_server(wire.serve, path)
    try:
        yield wire, f"unix://{path}"
    finally:
        listener.close()
        await wire.end()
        await listener.wait_closed()
