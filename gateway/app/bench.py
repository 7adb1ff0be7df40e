"""The stores of a gateway that does not run, opened as it would open them, for one piece of an operator's work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway import logs
from gateway.app.engine import Engine
from gateway.app.premises import Premises
from gateway.app.refusal import StartRefused
from gateway.durable.ledger import LedgerError
from gateway.embedded import EmbeddedError
from gateway.loop import new_event_loop
from gateway.service.operations import OperationsService
from gateway.settings import Settings
from gateway.settings.sections import LogSettings

T = TypeVar("T")


def at_the_stores(settings: Settings, work: Callable[[OperationsService], Awaitable[T]]) -> T:
    """What `work` gave, done with a gateway's engine that listens nowhere and that lives as long as it does.

    The shard is opened as at any start, or found halted. Nothing is made: neither a data folder nor a schema. Call it from the
    main thread.

    Raises StartRefused with the reason when the stores cannot be worked with, and what `work` raises.
    """
    if not settings.database_url.get_secret_value() and not settings.data_path.is_dir():
        raise StartRefused(f"there is no data folder {settings.data_path}")
    durable = settings.durable.model_copy(update={"migrate": "refuse"})
    settings = settings.model_copy(update={"durable": durable, "workers": 1})
    logs.configure(LogSettings(level="error", format="console"), secrets=settings.secrets())

    async def worked() -> T:
        async with Engine(settings, premises, lambda: settings) as engine:
            return await work(engine.operations)

    try:
        with Premises(settings) as premises, asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(worked())
    except (EmbeddedError, LedgerError) as problem:
        raise StartRefused(str(problem)) from problem
