"""sustained: a minute of reserves acknowledged from memory during which the durable store is never two seconds behind.

A closed loop whose rate is set by its connections: from the most down to the first number with which a trial keeps the backlog
within two seconds of events, and so does the minute; with the fewest it is measured in any case. The backlog is what Redis says of
the log, read ten times a second. The no-op is measured before and after, with as many connections as ever.

The flusher may rest until events are `LAG_MS_MAX` old. With the default of 2000 ms the backlog is over two seconds of events at
every rate, since it begins to hurry no earlier: 2.4 to 2.9 s were measured with 4 to 64 connections.
"""

from __future__ import annotations

from statistics import median
from threading import Event, Thread

from redis import Redis

from bench import scripts
from bench.client import GatewayClient
from bench.failure import ServerFailure
from bench.gateway_server import GatewayServer
from bench.load import CONNECTIONS
from bench.quiet import wait_quiet
from bench.rounds import say_to_terminal
from bench.row import Figure, FigureRow, Sample, out_of_bracket, sample

ON_HAND = 1_000_000_000
LADDER = (CONNECTIONS, 32, 16, 8, 4, 2)
LAG_MS_MAX = 1000
SECONDS, TRIAL_SECONDS, NOOP_SECONDS = 60.0, 10.0, 4.0
SECONDS_QUICK, TRIAL_SECONDS_QUICK, NOOP_SECONDS_QUICK = 6.0, 4.0, 1.0
BACKLOG_SECONDS_MAX = 2.0
TRIAL_BACKLOG_SECONDS_MAX = 1.5  # a minute goes further than a trial: 2.3 s after 1.3 s were seen
RATIO_MIN = 0.5
READING_SECONDS = 0.1


class Sustained(FigureRow):
    """The rate that lasts."""

    name = "sustained"
    title = "Sustained, hot sku, ack=memory"
    by_default = False

    def measure(self) -> list[Figure]:
        """The rate, the backlog, and the no-op beside it.

        Raises:
            ServerFailure: a level does not hold what was answered.
        """
        is_quick = self.stage.arguments.is_quick
        seconds, trial_s = (SECONDS_QUICK, TRIAL_SECONDS_QUICK) if is_quick else (SECONDS, TRIAL_SECONDS)
        self._gateway = self.stage.fresh_gateway("sustained", GATEWAY_FLUSH__LAG_MS_MAX=str(LAG_MS_MAX))
        self._rounds = 0
        noops = self._noops()
        for connections in LADDER:
            is_last = connections == LADDER[-1]
            if not is_last and self._play(connections, trial_s)[1] > TRIAL_BACKLOG_SECONDS_MAX:
                continue
            played, behind_s = self._play(connections, seconds)
            if is_last or behind_s <= BACKLOG_SECONDS_MAX:
                break
        noop = median([*noops, *self._noops()])
        self._gateway.stop()
        what = f"{self.title}, {seconds:.0f} s, flush.lag_ms_max = {LAG_MS_MAX}"
        return [
            Figure(f"{what}, {connections} connections", played.rate, "per s"),
            Figure(f"{what}: p99", played.p99_ms, "ms"),
            Figure(f"{what}: longest backlog", behind_s, "s of events", BACKLOG_SECONDS_MAX),
            Figure(f"{what}: no-op beside it", noop, "per s"),
            Figure(f"{what}: of the no-op", played.rate / noop, "x", value_min=RATIO_MIN),
        ]

    def _noops(self) -> list[float]:
        seconds = NOOP_SECONDS_QUICK if self.stage.arguments.is_quick else NOOP_SECONDS
        request = GatewayClient(self.stage.noop.port).reserve("SUSTAINED-00", "memory")
        return [sample(self.stage.generator.play(request, seconds)).rate for _ in range(2)]

    def _play(self, connections: int, seconds: float) -> tuple[Sample, float]:
        """The round, and the longest backlog in seconds of its events. Raises ServerFailure."""
        client, generator = self._gateway.client, self.stage.generator
        self._rounds += 1
        sku = f"SUSTAINED-{self._rounds:02}"
        client.stock(sku, ON_HAND)
        wait_quiet()
        with Backlog(self._gateway) as backlog:
            played = sample(generator.play(client.reserve(sku, "memory"), seconds, connections=connections))
        client.drain()
        held = client.level(sku)["held"]
        problems = out_of_bracket(f"held of {sku}", held, played.done, generator.in_flight_max(connections))
        if problems or played.wrong:
            raise ServerFailure(f"sustained: {problems}, {played.wrong} answers were missing or not as expected")
        behind_s = backlog.most / played.rate
        told = f"{played.rate:,.0f}/s, at most {behind_s:.2f} s behind"
        say_to_terminal(f"sustained, {connections} connections, {seconds:.0f} s: {told}")
        return played, behind_s


class Backlog:
    """A context that watches how many events the durable store is behind; `most` is the greatest number that it saw."""

    def __init__(self, gateway: GatewayServer) -> None:
        """Nothing is read yet."""
        self.most = 0
        self._redis = Redis.from_url(gateway.redis.url)
        self._is_over = Event()
        self._thread = Thread(target=self._watch)

    def __enter__(self) -> Backlog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._redis.close()

    def _watch(self) -> None:
        while not self._is_over.wait(READING_SECONDS):
            self.most = max(self.most, scripts.backlog(self._redis))
