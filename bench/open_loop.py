"""A load generator that does not wait: requests leave when their time has come, answered or not, as buyers come.

Run as a program (`python -m bench.open_loop`), a job as one JSON object on standard input, the outcome as one on standard
output. A latency counts from the instant at which a request was due, so a stall of the server is seen by all that would have
come meanwhile. A connection carries one request at a time; where all are busy and no more may be opened, the request is counted
as `unsent`: that is what this client could not offer.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

from bench.beat import Beat
from bench.closed_loop import each_body
from gateway.loop import new_event_loop

TICK_SECONDS = 0.0005
GIVE_UP_SECONDS = 0.05  # between two looks for requests whose patience is over
TENTHS_PER_SECOND = 10_000  # latencies are counted in tenths of a millisecond
CONNECTS_MAX = 64  # connections that are being made at once
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)\r\n", re.IGNORECASE)
_OUTCOME = re.compile(rb'"outcome": *"(not_applied|unknown|applied)"')
_CODE = re.compile(rb'"code": *"(\w+)"')


@dataclass
class Job:
    """What to send. With `key` each request has an idempotency key of its own that begins with it.

    With `skus` each has another number below it where the body has `@@`.
    """

    port: int
    path: str
    body: str
    rate: float
    seconds: float
    connections_max: int
    patience_seconds: float
    key: str = ""
    skus: int = 0


@dataclass
class Tally:
    """What became of the requests."""

    offered: int = 0
    unsent: int = 0
    lost: int = 0
    hung: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    #: Refusals "later" without Retry-After, or without a code and an outcome.
    bare: int = 0
    retry_after: Counter[int] = field(default_factory=Counter)
    #: By second of the job in which they were due: how many successes took so many tenths of a millisecond.
    successes: dict[int, Counter[int]] = field(default_factory=dict)
    refusals: Counter[int] = field(default_factory=Counter)


class Load:
    """One job."""

    def __init__(self, job: Job) -> None:
        """Nothing is sent before `play`."""
        self.job = job
        self.tally = Tally()
        self.begun_s = 0.0
        self.idle: list[Client] = []
        self.busy: set[Client] = set()
        self.connecting = 0
        self._number = self._count = 0
        self._bodies = each_body(job.body, job.skus)

    async def play(self) -> dict[str, object]:
        """Everything was offered, and each request answered or given up after `patience_seconds`; returns the outcome."""
        self._count = round(self.job.rate * self.job.seconds)
        self.begun_s = time.perf_counter()
        with Beat(TICK_SECONDS, self._offer_due):
            while self.tally.offered < self._count or self.busy or self.connecting:
                self._give_up(time.perf_counter())
                await asyncio.sleep(GIVE_UP_SECONDS)
        for client in self.idle:
            client.close()
        return self._outcome()

    def _offer_due(self) -> None:
        """Every request whose time has come leaves."""
        tally, now_s = self.tally, time.perf_counter()
        while tally.offered < self._count and (due_s := self.begun_s + tally.offered / self.job.rate) <= now_s:
            tally.offered += 1
            self._offer(due_s)

    def _offer(self, due_s: float) -> None:
        if self.idle:
            self.send(self.idle.pop(), due_s)
        elif len(self.busy) + self.connecting < self.job.connections_max and self.connecting < CONNECTS_MAX:
            self.connecting += 1
            asyncio.get_running_loop().create_task(self._connect(due_s))
        else:
            self.tally.unsent += 1

    async def _connect(self, due_s: float) -> None:
        try:
            async with asyncio.timeout(self.job.patience_seconds):
                _, client = await asyncio.get_running_loop().create_connection(
                    lambda: Client(self), "127.0.0.1", self.job.port
                )
        except TimeoutError:
            self.tally.hung += 1
        except OSError:
            self.tally.lost += 1
        else:
            self.send(client, due_s)
        finally:
            self.connecting -= 1

    def send(self, client: Client, due_s: float) -> None:
        """The request that was due then goes over this connection."""
        self._number += 1
        self.busy.add(client)
        client.send(self._packed(), due_s)

    def _packed(self) -> bytes:
        job, body = self.job, self._bodies[self._number % len(self._bodies)]
        key = f"Idempotency-Key: {job.key}{self._number}\r\n" if job.key else ""
        head = f"POST {job.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{key}"
        return f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()

    def _give_up(self, now_s: float) -> None:
        limit_s = now_s - self.job.patience_seconds
        for client in [one for one in self.busy if one.due_s < limit_s]:
            self.tally.hung += 1
            client.abandon()

    def answered(self, client: Client, head: bytes, body: bytes) -> None:
        """The client's request has this answer."""
        tally, status = self.tally, int(head[9:12])
        tally.statuses[status] += 1
        waited = int((time.perf_counter() - client.due_s) * TENTHS_PER_SECOND)
        if status < 300:
            tally.successes.setdefault(int(client.due_s - self.begun_s), Counter())[waited] += 1
            return
        tally.refusals[waited] += 1
        code, after = _CODE.search(body), _RETRY_AFTER.search(head)
        tally.codes[code[1].decode() if code else "none"] += 1
        if after is not None:
            tally.retry_after[int(after[1])] += 1
        if code is None or not _OUTCOME.search(body) or (status in {429, 503} and after is None):
            tally.bare += 1

    def _outcome(self) -> dict[str, object]:
        tally = self.tally
        return {
            "offered": tally.offered,
            "unsent": tally.unsent,
            "lost": tally.lost,
            "hung": tally.hung,
            "bare": tally.bare,
            "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
            "codes": dict(sorted(tally.codes.items())),
            "retry_after": told(tally.retry_after),
            "successes": {str(second): told(found) for second, found in sorted(tally.successes.items())},
            "refusals": told(tally.refusals),
        }


def told(counts: Counter[int]) -> dict[str, int]:
    """As JSON has it."""
    return {str(value): count for value, count in sorted(counts.items())}


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        """It is made by the loop."""
        self.due_s = 0.0
        self._load = load
        self._received = bytearray()
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection can be written to."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, due_s: float) -> None:
        """The request is on its way."""
        self.due_s = due_s
        if self._is_over:
            self._drop()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """A complete answer is counted; the connection is free for the next request, where it lives on."""
        received = self._received
        received += data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _LENGTH.search(received, 0, head_end)
        answer_end = head_end + 4 + (int(length[1]) if length else 0)
        if len(received) < answer_end:
            return
        head, body = bytes(received[: head_end + 2]), bytes(received[head_end + 4 : answer_end])
        received.clear()
        if self in self._load.busy:
            self._load.busy.discard(self)
            self._load.answered(self, head, body)
            if b"connection: close" in head.lower():
                self.close()
            else:
                self._load.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """A request that was under way is lost; one that was refused before it began (a RST to a connection) likewise."""
        self._is_over = True
        self._drop()

    def abandon(self) -> None:
        """Nobody waits for the answer any more."""
        self._load.busy.discard(self)
        self._transport.abort()

    def close(self) -> None:
        """The connection ends."""
        self._is_over = True
        self._transport.close()

    def _drop(self) -> None:
        if self in self._load.busy:
            self._load.busy.discard(self)
            self._load.tally.lost += 1
        elif self in self._load.idle:
            self._load.idle.remove(self)


def main() -> None:
    """The job on standard input is done, its outcome printed."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        print(json.dumps(runner.run(Load(Job(**json.load(sys.stdin))).play())))


if __name__ == "__main__":
    main()
