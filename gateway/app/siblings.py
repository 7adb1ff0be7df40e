"""The workers of one supervisor, as each of them sees the others: a socket per worker on which it tells its metrics.

A scrape reaches whichever worker the kernel chooses, so that one asks all and tells each series with its `worker`. They are not
added up: the counters of a worker that was started again begin at zero, and Prometheus understands that of single series alone.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import structlog

from gateway import metrics

log = structlog.get_logger(__name__)

#: The folder of the sockets and the worker's own name; workers alone have them.
FOLDER_VARIABLE: Final = "RESERVATION_GATEWAY_WORKERS_DIR"
NAME_VARIABLE: Final = "RESERVATION_GATEWAY_WORKER"
#: A worker that does not tell its metrics within this time is left out of one scrape.
TELL_S_MAX: Final = 1.0
TEXT_BYTES_MAX: Final = 4 * 1024 * 1024


class Siblings:
    """A context: inside it this worker tells its metrics to the others. Outside of a supervisor it is alone."""

    def __init__(self) -> None:
        self._name = os.environ.get(NAME_VARIABLE, "")
        folder = os.environ.get(FOLDER_VARIABLE)
        self._folder = Path(folder) if folder else None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Siblings:
        if self._folder is not None:
            own = self._folder / f"{self._name}.sock"
            own.unlink(missing_ok=True)  # of the process that had this name before and was killed
            self._server = await asyncio.start_unix_server(_tell, own)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def metrics(self) -> bytes:
        """The metrics of this process, or with a `worker` label those of all that answer."""
        if self._folder is None:
            return metrics.render()
        sockets = sorted(self._folder.glob("*.sock"))
        texts = await asyncio.gather(*(_ask(socket) for socket in sockets))
        told = [(socket.stem, text) for socket, text in zip(sockets, texts, strict=True) if text is not None]
        return metrics.joined(told)


async def _tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Whoever connects has the metrics of this process."""
    writer.write(metrics.render())
    writer.close()


async def _ask(socket: Path) -> str | None:
    """The metrics behind the socket, None where nobody answers in time."""
    try:
        async with asyncio.timeout(TELL_S_MAX):
            reader, writer = await asyncio.open_unix_connection(socket, limit=TEXT_BYTES_MAX)
            try:
                return (await reader.read()).decode()
            finally:
                writer.close()
    except (OSError, TimeoutError) as problem:
        log.warning("worker_not_scraped", worker=socket.stem, problem=str(problem) or type(problem).__name__)
        return None
