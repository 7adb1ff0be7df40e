"""The HTTP server of this process: where it listens, and how it stops."""

from __future__ import annotations

import resource

import structlog

from gateway.app.engine import Engine
from gateway.app.refusal import StartRefused
from gateway.settings import HttpSettings, Settings
from gateway.web.application import GatewayRunner, build_application
from gateway.web.limits import HttpLimits
from gateway.web.listener import Listener
from gateway.web.site import Services

log = structlog.get_logger(__name__)

BACKLOG = 1024  # connections the kernel keeps until they are accepted
FILES_SPARE = 128  # for the stores, the log and connections that are being refused


class HttpServer:
    """Serves an engine. `start` listens, `drain` finishes what is in flight and stops."""

    def __init__(self, settings: Settings, engine: Engine, *, shares_port: bool = False) -> None:
        """`shares_port`: other processes listen on the same port, and the kernel spreads connections over them."""
        key = settings.bootstrap_key.get_secret_value()
        self._settings = settings
        services = Services(engine.reservations, engine.stock, engine.operations)
        self._limits = limits_of(settings.http)
        application = build_application(services, engine.policy, self._limits, bootstrap_key=key)
        self._runner = GatewayRunner(application)
        self._port = settings.port
        self._shares_port = shares_port

    @property
    def address(self) -> str:
        """Where it can be reached, as a URL; with port 0 it is known once `start` has returned."""
        host = self._settings.host
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Requests are accepted. Raises StartRefused when the port is taken."""
        await self._runner.setup()
        site = Listener(
            self._runner,
            self._settings.host,
            self._settings.port,
            backlog=BACKLOG,
            connections_max=room_for(self._limits.connections_max),
            shares_port=self._shares_port,
        )
        try:
            await site.start()
        except OSError as problem:
            raise StartRefused(f"cannot listen on {self.address}: {problem.strerror}; see GATEWAY_PORT") from problem
        self._port = site.port

    async def drain(self) -> None:
        """Nothing is accepted any more, and what was in flight is answered, within `http.drain_timeout_ms`."""
        self._runner.drain()
        await self._runner.cleanup()


def room_for(connections_max: int) -> int:
    """So many connections, or as many as the system lets this process have; its soft limit of open files is raised as far as needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + FILES_SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections_max
    room = max(soft - FILES_SPARE, 1)
    log.warning("few_connections", connections_max=room, files_max=soft, mend="raise the limit of open files")
    return room


def limits_of(http: HttpSettings) -> HttpLimits:
    """The bounds of the configuration as the web floor takes them."""
    return HttpLimits(
        body_bytes_max=http.body_bytes_max,
        header_bytes_max=http.header_bytes_max,
        body_timeout_ms=http.body_timeout_ms,
        keepalive_timeout_ms=http.keepalive_timeout_ms,
        drain_timeout_ms=http.drain_timeout_ms,
        connections_max=http.connections_max,
        requests_max=http.requests_max,
        import_row_bytes_max=http.import_row_bytes_max,
    )
