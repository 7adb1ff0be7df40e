"""overload: ten times what the gateway can do is offered for a minute; what is refused, what hangs, and when all is as before.

Three client processes send at their times, answered or not. On a machine of two processors they compete with the gateway and its
stores, so the row tells what was offered, what left the clients and what was taken. Every request must be answered within
`PATIENCE_SECONDS`, either with a reservation or with 503 or 429, `Retry-After`, a code and an outcome; afterwards the level must hold
exactly what was answered, and the books must add up. Before and after it a third of the capacity is offered.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from threading import Event, Thread

from bench.failure import ServerFailure
from bench.open_loop import Job
from bench.row import Figure, FigureRow
from bench.storm import Storm, play

SKU = "STORM"
ON_HAND = 1_000_000_000
CLIENTS = 3
CONNECTIONS = 1_900  # of each client: together more than the gateway takes
CALM_CONNECTIONS = 500
PATIENCE_SECONDS = 10.0
CAPACITY_SECONDS, CALM_SECONDS, STORM_SECONDS = 8.0, 15.0, 60.0
QUICK_SECONDS = 4.0
RECOVERY_SECONDS_MAX = 10.0
WINDOW_SECONDS = 3  # seconds whose p99 is compared with that of before
P99_TIMES_MAX = 2.0
GROWTH_MIB_MAX = 256.0


class Overload(FigureRow):
    """What the gateway does with ten times too much."""

    name = "overload"
    title = "Ten times too much"
    by_default = False

    def measure(self) -> list[Figure]:
        """The figures.

        Raises:
            ServerFailure: a request hung, was lost, or was answered as it must not be; or the level holds something else.
            LoadFailure: a client ended badly.
        """
        gateway = self.stage.fresh_gateway("overload")
        gateway.client.stock(SKU, ON_HAND)
        is_quick = self.stage.arguments.is_quick
        request = gateway.client.reserve(SKU, "memory")
        capacity = self.stage.exact.play(request, QUICK_SECONDS if is_quick else CAPACITY_SECONDS)
        rate = capacity.answers / capacity.seconds
        calm_s, storm_s = (QUICK_SECONDS, QUICK_SECONDS) if is_quick else (CALM_SECONDS, STORM_SECONDS)

        def calm() -> Job:
            return self._job(gateway.port, request.body, rate / 3, calm_s, CALM_CONNECTIONS)

        before = play(calm(), 1)
        with _Peak(gateway.pid) as peak:
            storm = play(self._job(gateway.port, request.body, 10 * rate, storm_s, CONNECTIONS), CLIENTS)
        after = play(calm(), 1)
        sold = capacity.answers - capacity.refusals
        for name, one in (("before", before), ("storm", storm), ("after", after)):
            _judge(name, one)
            sold += one.sold
        gateway.client.drain()
        if (held := gateway.client.level(SKU)["held"]) != sold:
            raise ServerFailure(f"overload: {held} held, but {sold} were answered")
        if found := gateway.client.violations():
            raise ServerFailure(f"overload: {found[:3]}")
        gateway.stop()
        return self._figures(rate, storm_s, before, storm, after, peak)

    def _job(self, port: int, body: str, rate: float, seconds: float, connections: int) -> Job:
        key = f"{secrets.token_hex(6)}-"
        return Job(port, "/v1/reservations?ack=memory", body, rate, seconds, connections, PATIENCE_SECONDS, key)

    def _figures(
        self, rate: float, seconds: float, before: Storm, storm: Storm, after: Storm, peak: _Peak
    ) -> list[Figure]:
        def per_second(count: int) -> float:
            return count / seconds

        p99_ms = before.p99_ms() or 0.0
        return [
            Figure(f"{self.title}: capacity, a closed loop", rate, "per s"),
            Figure(f"{self.title}: offered", per_second(storm.offered), "per s"),
            Figure(f"{self.title}: sent by the clients", per_second(storm.offered - storm.unsent), "per s"),
            Figure(f"{self.title}: reserved", per_second(storm.sold), "per s"),
            Figure(f"{self.title}: told to come later", per_second(storm.refused), "per s"),
            Figure(f"{self.title}: answer p99, reserved", storm.p99_ms() or 0.0, "ms", PATIENCE_SECONDS * 1000),
            Figure(f"{self.title}: memory of the gateway, growth", peak.grown_mib, "MiB", GROWTH_MIB_MAX),
            Figure(f"{self.title}: p99 before, a third of the capacity", p99_ms, "ms"),
            Figure(f"{self.title}: p99 after, its last {WINDOW_SECONDS} s", _last(after), "ms"),
            Figure(
                f"{self.title}: seconds until p99 is within {P99_TIMES_MAX:g} times of before",
                back_after_s(after, P99_TIMES_MAX * p99_ms),
                "s",
                RECOVERY_SECONDS_MAX,
            ),
        ]


def back_after_s(after: Storm, p99_ms_max: float) -> float:
    """The first second from which a window's p99 is within the bound; infinite where there is none."""
    for first in range(max(after.successes, default=0) - WINDOW_SECONDS + 2):
        p99_ms = after.p99_ms(first, first + WINDOW_SECONDS - 1)
        if p99_ms is not None and p99_ms <= p99_ms_max:
            return float(first)
    return float("inf")


def _last(after: Storm) -> float:
    return after.p99_ms(max(after.successes, default=0) - WINDOW_SECONDS + 1) or 0.0


def _judge(name: str, storm: Storm) -> None:
    """Raises ServerFailure where a request hung, was lost, or was answered as it must not be."""
    wrong = {"hung": storm.hung, "lost": storm.lost, "without Retry-After, code or outcome": storm.bare}
    found = [f"{count} {what}" for what, count in wrong.items() if count]
    found += [f"{count} answered {status}" for status, count in storm.unexpected.items()]
    if storm.refused and len(storm.retry_after) < 2:
        found.append(f"everybody was told to come back at once: {dict(storm.retry_after)}")
    if found:
        raise ServerFailure(f"overload, {name}: {', '.join(found)}")


class _Peak:
    """A context that watches the resident memory of a process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._is_over = Event()
        self._first_kib = self._most_kib = resident_kib(pid)
        self._thread = Thread(target=self._watch)

    @property
    def grown_mib(self) -> float:
        """From the beginning to the most."""
        return (self._most_kib - self._first_kib) / 1024

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.2):
            self._most_kib = max(self._most_kib, resident_kib(self._pid))


def resident_kib(pid: int) -> int:
    """Memory that the process has at this moment."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ServerFailure(f"process {pid} tells no memory")
