"""A load generator of our own: each connection sends its next request when its last one was answered.

Run as a program (`python -m bench.closed_loop`), a job as one JSON object on standard input, the outcome as
one on standard output. Unlike wrk it ends by waiting for what is in flight, so what it counts is exactly what
was done: the checks of a run are made with it, and where wrk is missing the rounds too. It is Python, on the
same processors as the server it loads: its rates are lower than wrk's, and only comparable with each other.

A latency is the time from the write of a request to the last byte of its answer. As in every closed loop, a
stall of the server delays the requests that would have come, and they are not counted as late.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, cast

from gateway.loop import new_event_loop

HEAD_BYTES_MAX = 64 * 1024
# Past the end of a run, for answers still in flight; a server that takes longer is not answering.
GRACE_SECONDS_MAX = 30.0
#: A prime: a walk by it over a number of skus that is no multiple meets each of them once.
STRIDE = 7919
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATE = re.compile(rb'"state": *"(\w+)"')
_ID = re.compile(rb'"id": *"([\w-]+)"')


@dataclass
class Job:
    """What to send: `count` requests, or for `seconds`. The plan `life` takes each reservation to its end.

    With `skus` each request has another number below it where the body has `@@`.
    """

    port: int
    connections: int
    method: str
    path: str
    body: str
    plan: Literal["one", "life"] = "one"
    seconds: float | None = None
    count: int | None = None
    skus: int = 0


@dataclass
class Tally:
    """What was answered so far."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    lives: int = 0
    lost: int = 0


class Round:
    """One run of a job."""

    def __init__(self, job: Job) -> None:
        """Nothing is sent before `play`."""
        self.job = job
        self.tally = Tally()
        bodies = each_body(job.body, job.skus)
        self._requests = [pack_request(job.method, job.path, body) for body in bodies]
        self._next = 0
        self._left = job.count
        self._end_s = 0.0

    async def play(self) -> dict[str, object]:
        """Everything was sent and answered; returns the outcome as `bench/load.py` reads it.

        Raises:
            OSError: a connection could not be made.
            TimeoutError: answers were missing long after the end.
        """
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Client(self), "127.0.0.1", self.job.port) for _ in self._each()]
        clients = [client for _, client in made]
        begun_s = time.perf_counter()
        self._end_s = begun_s + (self.job.seconds or float("inf"))
        for client in clients:
            client.go_on()
        limit_s = None if self.job.seconds is None else self.job.seconds + GRACE_SECONDS_MAX
        await asyncio.wait_for(asyncio.gather(*(client.ended for client in clients)), limit_s)
        return self._outcome(time.perf_counter() - begun_s)

    def new_request(self) -> bytes:
        """The request that begins something, not one that follows an answer."""
        self._next = (self._next + 1) % len(self._requests)
        return self._requests[self._next]

    def may_send(self) -> bool:
        """Whether one more request is wanted; it then counts as sent."""
        if self._left is None:
            return time.perf_counter() < self._end_s
        if self._left == 0:
            return False
        self._left -= 1
        return True

    def _each(self) -> range:
        return range(min(self.job.connections, self.job.count or self.job.connections))

    def _outcome(self, seconds: float) -> dict[str, object]:
        statuses, latencies = self.tally.statuses, sorted(self.tally.latencies_s)
        return {
            "answers": statuses.total(),
            "refusals": sum(count for status, count in statuses.items() if status >= 400),
            "lives": self.tally.lives,
            "lost": self.tally.lost,
            "seconds": seconds,
            "p50_ms": percentile_ms(latencies, 0.50),
            "p99_ms": percentile_ms(latencies, 0.99),
            "statuses": {str(status): count for status, count in sorted(statuses.items())},
        }


class Client(asyncio.Protocol):
    """One connection: one request at a time, the next one when the answer is complete."""

    def __init__(self, play: Round) -> None:
        """`ended` is done when this connection has nothing more to do."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._round = play
        self._received = bytearray()
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection can be written to."""
        # uvloop's transports do what asyncio.Transport says, but are not of that class.
        self._transport = cast("asyncio.Transport", transport)

    def go_on(self, request: bytes | None = None) -> None:
        """The request, by default a new one, is sent, or the connection closed where no more are wanted."""
        if not self._round.may_send():
            self._finish()
            return
        self._sent_s = time.perf_counter()
        self._transport.write(request or self._round.new_request())

    def data_received(self, data: bytes) -> None:
        """A complete answer is counted, and the next request sent."""
        received = self._received
        received += data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            if len(received) > HEAD_BYTES_MAX:
                self._transport.abort()
            return
        length = _LENGTH.search(received, 0, head_end)
        answer_end = head_end + 4 + (int(length[1]) if length else 0)
        if len(received) < answer_end:
            return
        status, body = int(received[9:12]), bytes(received[head_end + 4 : answer_end])
        del received[:answer_end]
        tally = self._round.tally
        tally.latencies_s.append(time.perf_counter() - self._sent_s)
        tally.statuses[status] += 1
        self.go_on(None if self._round.job.plan == "one" else self._next_of_life(status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Lost before its work was done: a request without an answer."""
        if not self.ended.done():
            self._round.tally.lost += 1
            self.ended.set_result(None)

    def _finish(self) -> None:
        self.ended.set_result(None)
        self._transport.close()

    def _next_of_life(self, status: int, body: bytes) -> bytes | None:
        """The step that the reservation of this answer needs next; None for a new one."""
        state, name = _STATE.search(body), _ID.search(body)
        if status < 300 and state and name:
            if state[1] == b"fulfilled":
                self._round.tally.lives += 1
            step = {b"held": "confirm", b"confirmed": "fulfil"}.get(state[1])
            if step is not None:
                return pack_request("POST", f"/v1/reservations/{name[1].decode()}/{step}", "")
        return None


def each_body(body: str, skus: int) -> list[str]:
    """The bodies in the order in which they are sent: of each sku once, in no order that a cache or an index could like."""
    return [body.replace("@@", str(at * STRIDE % skus)) for at in range(skus)] if skus else [body]


def pack_request(method: str, path: str, body: str) -> bytes:
    """The bytes of one request."""
    encoded = body.encode()
    kind = f"Content-Type: application/json\r\nContent-Length: {len(encoded)}\r\n" if encoded else ""
    if method == "POST" and not encoded:
        kind = "Content-Length: 0\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{kind}\r\n".encode() + encoded


def percentile_ms(sorted_s: list[float], share: float) -> float:
    """The smallest latency that `share` of all do not exceed; 0 where there are none."""
    if not sorted_s:
        return 0.0
    return sorted_s[min(len(sorted_s) - 1, int(len(sorted_s) * share))] * 1000


def main() -> None:
    """The job on standard input is done, its outcome printed."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        print(json.dumps(runner.run(Round(Job(**json.load(sys.stdin))).play())))


if __name__ == "__main__":
    main()
