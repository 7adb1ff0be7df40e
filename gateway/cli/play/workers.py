"""The same, on several processes: each plays every n-th invoice, and their outcomes meet in one count.

Why the result is exact although nothing orders the processes: an invoice is played by one process alone, its
keys are its own, and the count only adds up what the gateway answered. Which process got the last unit of a
sku decides which answer it got, not whether the sum is right; adjustments commute for the same reason.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

from gateway.cli.answer import RemoteFailed
from gateway.cli.play.orders import Invoice
from gateway.cli.play.outcome import Outcome
from gateway.cli.play.plan import Plan
from gateway.cli.play.share import play_share
from gateway.loop import new_event_loop

DRAIN_SECONDS = 0.2
DRAIN_MAX = 1_000
START_SECONDS_MAX = 60.0
END_SECONDS_MAX = 5.0


class WorkerFailed(RemoteFailed):
    """A worker process could not finish its share."""


@dataclass(frozen=True, slots=True)
class _Duty:
    """What one worker is sent."""

    worker: int
    plan: Plan
    share: list[Invoice]
    first_seconds: float


@dataclass(frozen=True, slots=True)
class _Ready:
    """The worker has its share and waits for the start."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """The worker is done; with a `failure` not with all of its share."""

    worker: int
    failure: str = ""


_Message = _Ready | _Ended | Outcome


async def play_on_processes(
    plan: Plan,
    invoices: Sequence[Invoice],
    first_seconds: float,
    tell: Callable[[Outcome], None],
    started: Callable[[], None] = lambda: None,
) -> None:
    """Every invoice was played and told; `started` is called when all workers are ready and set off together.

    Raises:
        RemoteFailed: a share could not be finished, or a worker died. The other workers are ended.
    """
    # Spawned, not forked: a fork would copy an event loop and its sockets.
    context = multiprocessing.get_context("spawn")
    # Unbounded, so that a worker never waits for us while it measures; it holds at most one outcome per
    # invoice.
    outbox: Queue[_Message] = context.Queue()
    go = context.Event()
    workers = []
    for number in range(plan.processes):
        share = list(invoices[number :: plan.processes])
        workers.append(
            context.Process(target=_work, args=(_Duty(number, plan, share, first_seconds), outbox, go), daemon=True)
        )
    try:
        for worker in workers:
            worker.start()
        await _await_ready(workers, outbox)
        started()
        go.set()
        await _gather(workers, outbox, tell)
    finally:
        await asyncio.to_thread(_end, workers)


async def _await_ready(workers: Sequence[SpawnProcess], outbox: Queue[_Message]) -> None:
    ready = 0
    end = asyncio.get_running_loop().time() + START_SECONDS_MAX
    while ready < len(workers):
        ready += len(await asyncio.to_thread(_drain, outbox))
        dead = [worker.exitcode for worker in workers if worker.exitcode is not None]
        if dead or asyncio.get_running_loop().time() > end:
            raise WorkerFailed(f"a worker process did not start (exit codes {dead})")


async def _gather(workers: Sequence[SpawnProcess], outbox: Queue[_Message], tell: Callable[[Outcome], None]) -> None:
    ended: set[int] = set()
    while len(ended) < len(workers):
        # Before the queue is read: what a worker sent before it died is then surely read first.
        dead = {number for number, worker in enumerate(workers) if worker.exitcode is not None}
        messages = await asyncio.to_thread(_drain, outbox)
        for message in messages:
            if isinstance(message, Outcome):
                tell(message)
            elif isinstance(message, _Ended):
                if message.failure:
                    raise WorkerFailed(f"worker {message.worker}: {message.failure}")
                ended.add(message.worker)
        if not messages and (lost := dead - ended):
            raise WorkerFailed(f"worker {min(lost)} died with exit code {workers[min(lost)].exitcode}")


def _drain(outbox: Queue[_Message]) -> list[_Message]:
    """What has arrived: at least one message if one comes in time, at most DRAIN_MAX."""
    messages: list[_Message] = []
    try:
        messages.append(outbox.get(timeout=DRAIN_SECONDS))
        while len(messages) < DRAIN_MAX:
            messages.append(outbox.get_nowait())
    except queue.Empty:
        return messages
    return messages


def _end(workers: Sequence[SpawnProcess]) -> None:
    for worker in workers:
        if worker.is_alive():
            worker.terminate()
    for worker in workers:
        if worker.pid is not None:
            worker.join(END_SECONDS_MAX)
            if worker.is_alive():
                worker.kill()
                worker.join()


def _work(duty: _Duty, outbox: Queue[_Message], go: Event) -> None:
    """The body of a worker process."""
    # A terminal sends Ctrl-C to the whole group; the parent alone decides, and ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    outbox.put(_Ready())
    go.wait()
    failure = ""
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(play_share(duty.plan, duty.share, duty.first_seconds, outbox.put))
    except RemoteFailed as exc:
        failure = str(exc)
    outbox.put(_Ended(duty.worker, failure))


def _die_with_parent() -> None:
    """A parent that was killed cannot end us; without it nobody reads the outcomes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
