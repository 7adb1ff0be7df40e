"""Virtual time: an event loop in which nobody sleeps, and processes in it that can be frozen and killed between any two awaits.

The loop runs what is ready; when nothing is, its clock jumps to the next timer. Every callback belongs to the process in whose
context it was made, so a frozen process is one whose callbacks are kept back, and a dead one is never thawed.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

#: Far from zero, so that a clock that was never set is seen.
START_S: Final = 1000.0
TURNS_MAX: Final = 3_000_000


class Standstill(Exception):
    """Nothing is ready and no timer runs: whoever is awaited will never answer. Or the run never ends."""


class Process:
    """A process of the simulated world: a gateway, or a client."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_running = True
        self.is_dead = False
        self.wall_offset_s = 0.0
        self.parked: list[asyncio.Handle] = []
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, self)

    def freeze(self) -> None:
        """As by SIGSTOP: nothing of it runs, and what comes in waits."""
        self.is_running = False

    def kill(self) -> None:
        """As by SIGKILL: nothing of it will ever run again."""
        self.is_running, self.is_dead = False, True


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
#: Of what happens between processes: it belongs to none.
WORLD: Final = Context()


class SimulatedLoop(asyncio.BaseEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = START_S
        self._turns = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._made = 0
        self.connector: Connector | None = None
        self.failures: list[str] = []
        self.set_exception_handler(self._take_failure)

    def time(self) -> float:
        return self._now_s

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._made += 1  # of two timers for one instant the one that was made first goes first
        heapq.heappush(self._timers, (when, self._made, timer))
        return timer

    def thaw(self, process: Process) -> None:
        """As by SIGCONT: what came in goes first, then the timers that ended meanwhile, as a loop does after its select."""
        process.is_running = True
        parked, process.parked = process.parked, []
        self._ready.extend(sorted(parked, key=lambda handle: isinstance(handle, asyncio.TimerHandle)))

    def later(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        """As `call_later`, outside of every process."""
        return self.call_at(self._now_s + delay_s, callback, *arguments, context=WORLD)

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers
        if not ready:
            while timers and timers[0][2]._cancelled:
                heapq.heappop(timers)
            if not timers:
                raise Standstill("nothing is ready, and no timer runs")
            now_s = self._now_s = max(self._now_s, timers[0][0])
            while timers and timers[0][0] <= now_s:
                ready.append(heapq.heappop(timers)[2])
        self._turns += 1
        if self._turns > TURNS_MAX:
            raise Standstill("the run does not end")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is None or process.is_running:
                handle._run()
            else:
                process.parked.append(handle)

    def _take_failure(self, _: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        self.failures.append(f"{told.get('message')}: {told.get('exception')!r}")

    def _write_to_self(self) -> None:
        """There is no other thread to be woken by."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer goes when its time has come."""

    # -- what the gateway's connections ask of a loop -----------------------------------------------------------

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """Every name is an address."""
        return [(2, 1, 6, "", (host, port))]

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """As the network has it."""
        assert self.connector is not None
        await self.connector.connect(sock, *address)

    async def create_connection(self, protocol_factory: Any, *_: Any, sock: Any = None, **__: Any) -> Any:
        """The protocol is at the end of the connected socket."""
        protocol = protocol_factory()
        sock.attach(protocol)
        return sock, protocol


class Connector:
    """Whoever makes connections: the network."""

    async def connect(self, sock: Any, host: str, port: int) -> None:
        """The socket is connected, or an OSError says why not."""
        raise NotImplementedError
