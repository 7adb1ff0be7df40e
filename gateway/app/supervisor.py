"""Several processes of one gateway: web workers on one port, and one that opens the shard, flushes and sweeps."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from gateway.app.premises import Premises
from gateway.app.refusal import StartRefused
from gateway.app.revival import Revival, kept_alive
from gateway.app.role import Role
from gateway.app.siblings import FOLDER_VARIABLE, NAME_VARIABLE
from gateway.app.worker import SUPERVISOR_VARIABLE, Worker
from gateway.loop import Job
from gateway.settings import Settings

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.1  # between two looks at a process
#: What is left of the ten seconds of a stop, beside `http.drain_timeout_ms`, for the last flush.
FLUSH_S: Final = 3.0


class Supervisor:
    """Starts the workers, starts again what ends, and ends them in order: web first, so that their last commits are made."""

    def __init__(self, settings: Settings, premises: Premises, config: Path | None, *, sample: bool) -> None:
        """Enter the premises first."""
        if not premises.places.redis_url:
            raise StartRefused(
                "Redis is simulated inside one process: workers = 1, or give a Redis (GATEWAY_REDIS_URL)"
            )
        self._drain_s = settings.http.drain_timeout_ms / 1000 + 1
        options = [] if config is None else ["--config", str(config)]
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-workers-", ignore_cleanup_errors=True)
        environment = os.environ | {
            "GATEWAY_REDIS_URL": premises.places.redis_url,
            "GATEWAY_DATABASE_URL": premises.places.database_url,
            SUPERVISOR_VARIABLE: str(os.getpid()),
            FOLDER_VARIABLE: self._folder.name,
        }

        def worker(name: str, role: Role, *more: str) -> Worker:
            return Worker(name, role, [*options, *more], environment | {NAME_VARIABLE: name})

        self._work = worker("work", "work")
        self._webs = [
            worker(f"web-{number}", "web", *(["--sample"] if sample and number == 1 else []))
            for number in range(1, settings.workers + 1)
        ]

    @property
    def _workers(self) -> list[Worker]:
        return [self._work, *self._webs]

    async def run(self, stopping: asyncio.Event) -> None:
        """All run until `stopping`, then they were drained and ended.

        Raises StartRefused when one of them ends before all serve for the first time; the others were ended, too. Later one
        that ends is started again, however it ended: a store that is away refuses a start as a wrong key does.
        """
        try:
            for worker in self._workers:
                worker.relaunch()
            while not stopping.is_set() and not all(worker.is_ready for worker in self._workers):
                for worker in self._workers:
                    if worker.has_ended:
                        raise StartRefused(f"the worker {worker.name} did not start; its own line above says why")
                await asyncio.sleep(LOOK_S)
            if not stopping.is_set():
                log.info("workers_serve", pids={worker.name: worker.pid for worker in self._workers})
                await self._keep_alive(stopping)
        finally:
            await self._end()

    async def _keep_alive(self, stopping: asyncio.Event) -> None:
        """What ends is started again, until `stopping`."""
        watches = [
            Job("revival", Revival(worker, noun="worker", name=worker.name).step, pause_seconds=LOOK_S)
            for worker in self._workers
        ]
        tasks = [asyncio.create_task(watch.run()) for watch in watches]
        try:
            await stopping.wait()
        finally:
            for watch in watches:
                watch.stop()
            await asyncio.gather(*tasks)

    def pass_on(self, number: signal.Signals) -> None:
        """Every worker has the signal."""
        for worker in self._workers:
            worker.send(number)

    async def _end(self) -> None:
        await _ended(self._webs, self._drain_s)
        await _ended([self._work], FLUSH_S)
        self._folder.cleanup()


async def _ended(workers: Iterable[Worker], within_s: float) -> None:
    """The workers were asked to end and have ended; who takes too long is killed."""
    workers = list(workers)
    for worker in workers:
        worker.stop()
    try:
        async with asyncio.timeout(within_s):
            while any(worker.is_running for worker in workers):  # noqa: ASYNC110 - a process ends without a word
                await asyncio.sleep(LOOK_S / 5)
    except TimeoutError:
        for worker in workers:
            if worker.is_running:
                log.error("worker_killed", worker=worker.name, pid=worker.pid, after_s=within_s)
                worker.send(signal.SIGKILL)


def _require_free(host: str, port: int) -> None:
    """Pass when nobody listens there: the workers share their port with whoever asks for it. Raises StartRefused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            raise StartRefused(f"cannot listen on {host}:{port}: {problem.strerror}; see GATEWAY_PORT") from problem


async def supervise(settings: Settings, premises: Premises, config: Path | None, *, sample: bool) -> None:
    """The workers served until SIGINT or SIGTERM, and were drained. SIGHUP reaches each of them. Raises StartRefused."""
    _require_free(settings.host, settings.port)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    supervisor = Supervisor(settings, premises, config, sample=sample)
    async with kept_alive(premises.redis) as let_die:

        def stop() -> None:
            let_die()
            stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGHUP, supervisor.pass_on, signal.SIGHUP)
        await supervisor.run(stopping)
    log.info("ended")
