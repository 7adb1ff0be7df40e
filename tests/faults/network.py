"""Two sides of a network on one machine: a network namespace, this one, and a bridge between them that can be opened."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.way import Way

CLONE_NEWNET: Final = 0x40000000
THREAD_SECONDS_MAX: Final = 10.0


class Network:
    """`far` is a namespace, `near` is this one. Names and addresses are of this process alone; 198.18/15 is nobody's."""

    def __init__(self) -> None:
        """Nothing is there yet."""
        number = os.getpid() % 16_000
        self.far, self._middle = f"rgfar{number}", f"rgmid{number}"
        self._near_end, self._far_end = f"rgn{number}", f"rgf{number}"
        base = f"198.18.{number // 64}.{number % 64 * 4}"
        prefix, last = base.rsplit(".", 1)
        self.near_host, self.far_host = f"{prefix}.{int(last) + 1}", f"{prefix}.{int(last) + 2}"

    @property
    def far_command(self) -> tuple[str, ...]:
        """What a command begins with that is to run on the far side."""
        return ("ip", "netns", "exec", self.far)

    def make(self) -> None:
        """Both sides reach each other, over a bridge in a namespace of its own."""
        for name in (self.far, self._middle):
            _ip("netns", "add", name)
        _ip("-n", self._middle, "link", "add", "bridge", "type", "bridge")
        _ip("link", "add", self._near_end, "type", "veth", "peer", "name", "near", "netns", self._middle)
        _ip("-n", self.far, "link", "add", self._far_end, "type", "veth", "peer", "name", "far", "netns", self._middle)
        for name in ("bridge", "near", "far"):
            _ip("-n", self._middle, "link", "set", name, "up")
        _ip("-n", self.far, "link", "set", "lo", "up")
        _ip("addr", "add", f"{self.near_host}/30", "dev", self._near_end)
        _ip("link", "set", self._near_end, "up")
        _ip("-n", self.far, "addr", "add", f"{self.far_host}/30", "dev", self._far_end)
        _ip("-n", self.far, "link", "set", self._far_end, "up")
        self.join()

    def join(self) -> None:
        """What one side sends arrives at the other."""
        for name in ("near", "far"):
            _ip("-n", self._middle, "link", "set", name, "master", "bridge")

    def split(self) -> None:
        """What one side sends is gone, and nobody is told."""
        _ip("-n", self._middle, "link", "set", "far", "nomaster")

    def end(self) -> None:
        """Nothing of it is left; the ends of its links go with their namespaces."""
        for name in (self._middle, self.far):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def far_binary(self, binary: Path, folder: Path) -> Path:
        """A command that is the binary, run on the far side; it lies in the folder."""
        command = folder / f"far-{binary.name}"
        command.write_text(f'#!/bin/sh\nexec {" ".join(self.far_command)} {binary} "$@"\n')
        command.chmod(0o755)
        return command

    @contextmanager
    def door(self, port: int) -> Iterator[None]:
        """Inside, 127.0.0.1:`port` of this side leads to 127.0.0.1:`port` of the far side, also while they are split.

        It is for the clients, who are where the gateway is. A thread of its own is on the far side; its socket was made here.
        """
        listener = socket.create_server(("127.0.0.1", port))
        loop = asyncio.new_event_loop()
        has_entered = threading.Event()
        thread = threading.Thread(target=self._lead, args=(loop, listener, port, has_entered), daemon=True)
        thread.start()
        assert has_entered.wait(THREAD_SECONDS_MAX), "the far side could not be entered"
        try:
            yield
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(THREAD_SECONDS_MAX)
            listener.close()

    def _lead(
        self, loop: asyncio.AbstractEventLoop, listener: socket.socket, port: int, has_entered: threading.Event
    ) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{self.far}").open("rb") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                return
        way = Way(port)
        server = loop.run_until_complete(asyncio.start_server(way.serve, sock=listener))
        has_entered.set()
        loop.run_forever()
        server.close()
        loop.run_until_complete(way.end())
        loop.close()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def network() -> Iterator[Network]:
    """A network of two sides that reach each other."""
    made = Network()
    try:
        made.make()
        yield made
    finally:
        made.end()
