"""The process: everything is put together, started in order, and ended in the reverse order.

Start: data folder and private Redis, connections, judgement, schema, shard, jobs, and HTTP last. End: the private Redis is
not started again any more, HTTP stops accepting and finishes what is in flight, the jobs stop, what is in the log is
flushed, the connections close, and the private Redis ends last.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from pathlib import Path

import structlog

from gateway import logs
from gateway.app.engine import Engine
from gateway.app.http import HttpServer
from gateway.app.premises import Premises
from gateway.app.refusal import StartRefused, judge
from gateway.app.revival import kept_alive
from gateway.app.role import Role
from gateway.app.sample import load_sample, tell_sample
from gateway.app.supervisor import supervise
from gateway.app.worker import is_supervised, tell_ready
from gateway.domain.errors import ShardHalted
from gateway.durable.ledger import LedgerError
from gateway.embedded import EmbeddedError
from gateway.loop import new_event_loop
from gateway.settings import Settings

log = structlog.get_logger(__name__)

REFUSED = 2  # exit status when the gateway can not start as it is configured


def serve(
    settings: Settings,
    *,
    sample: bool,
    read_settings: Callable[[], Settings],
    role: Role = "all",
    config: Path | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM, then drain. Returns the exit status: 0 after a drain, 2 when it could not start.

    `read_settings` gives the settings as they are now, for a reload; `config` is the file they are of, for the workers. Call it
    from the main thread.
    """
    tune_collector()
    logs.configure(settings.log, secrets=settings.secrets())
    try:
        judge(settings, role)
        with Premises(settings) as premises, asyncio.Runner(loop_factory=new_event_loop) as runner:
            if role == "all" and settings.workers > 1:
                runner.run(supervise(settings, premises, config, sample=sample))
            else:
                runner.run(_serve(settings, premises, role, sample=sample, read_settings=read_settings))
    except (StartRefused, EmbeddedError) as refusal:
        log.error("start_refused", reason=str(refusal))
        return REFUSED
    except LedgerError as problem:
        log.error("start_refused", reason=f"the durable store: {problem}")
        return REFUSED
    return 0


def tune_collector() -> None:
    """The cyclic collector looks rarely: requests leave no cycles, and a full look at a large log batch cost a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _is_started(engine: Engine, stopping: asyncio.Event) -> bool:
    """Whether the engine runs now; False when the process was told to stop while it was still starting."""
    starting, told = asyncio.create_task(engine.start()), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            return True
        return False
    finally:
        told.cancel()
        starting.cancel()
        await asyncio.gather(starting, told, return_exceptions=True)


async def _serve(
    settings: Settings, premises: Premises, role: Role, *, sample: bool, read_settings: Callable[[], Settings]
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with kept_alive(premises.redis) as let_die:

        def stop() -> None:
            let_die()  # in the signal's own handler: from here on nothing is started any more
            stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)  # also where the signal arrived ignored
        engine = Engine(settings, premises, read_settings, role)
        if await _is_started(engine, stopping):
            if role == "work" and is_supervised():
                await _work(engine, stopping)
            else:
                await _serve_engine(settings, engine, stopping, sample=sample, shares_port=role == "web")
    log.info("ended")


async def _work(engine: Engine, stopping: asyncio.Event) -> None:
    """The started engine worked until the process was told to stop. Its web siblings answer requests."""
    async with engine:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, engine.reload_and_tell)
        log.info("working")
        tell_ready()
        await stopping.wait()


async def _serve_engine(
    settings: Settings, engine: Engine, stopping: asyncio.Event, *, sample: bool, shares_port: bool
) -> None:
    """The started engine was served until the process was told to stop, drained and ended."""
    async with engine:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, engine.reload_and_tell)
        server = HttpServer(settings, engine, shares_port=shares_port)
        await server.start()
        try:
            if sample:
                try:
                    await load_sample(engine.stock)
                    tell_sample(server.address)
                except ShardHalted as halted:
                    log.warning("sample_left_out", reason=halted.detail)
            log.info("serving", address=server.address)
            tell_ready()
            await stopping.wait()
            log.info("draining")
        finally:
            await server.drain()
