"""The engine: stores, shard, services and background jobs of one process, started and ended in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType

import structlog

from gateway.app.keeper import Keeper
from gateway.app.premises import Premises, make_link
from gateway.app.refusal import StartRefused
from gateway.app.role import Role
from gateway.app.siblings import Siblings
from gateway.app.worker import tell_reload
from gateway.domain.command import Ack
from gateway.domain.errors import GatewayError
from gateway.domain.event import EntryInvalid
from gateway.domain.policy import Policy, PolicyBook
from gateway.durable.ledger import Deployment, Ledger, LedgerError
from gateway.durable.stores import ledger_for
from gateway.flush.flusher import Fenced, Flusher
from gateway.flush.follower import STALLED_S, Follower
from gateway.flush.watermark import Watermark
from gateway.hot.connection import Link, Lost, NotSent, Refused, ReplyError
from gateway.hot.judgement import Judgement, judge
from gateway.hot.log import ChainBroken
from gateway.hot.posture import LOOK_S, Posture
from gateway.hot.scripts import Scripts
from gateway.hot.shard import Limits, Shard
from gateway.hot.urgency import UrgencyWatch, Urging
from gateway.loop import Job
from gateway.paths import lua_dir
from gateway.service.books import Books
from gateway.service.leasing import Leaser
from gateway.service.opening import Opener
from gateway.service.operations import OperationsService
from gateway.service.remembering import Remembering
from gateway.service.repairing import Repairer
from gateway.service.reservations import ReservationService
from gateway.service.stock import StockService
from gateway.service.sweeping import Sweeper
from gateway.service.ticking import TICK_S, Ticker
from gateway.settings import Settings, SettingsInvalid

log = structlog.get_logger(__name__)

HASH = "one"  # how skus are spread over shards; one shard needs no spreading
DRAIN_S = 2.5  # how long the end of the process waits for the durable store


class Engine:
    """A context: inside it the services answer. Leaving it stops the jobs and flushes what is in the log."""

    reservations: ReservationService
    stock: StockService
    operations: OperationsService

    def __init__(
        self,
        settings: Settings,
        premises: Premises,
        read_settings: Callable[[], Settings],
        role: Role = "all",
    ) -> None:
        """A `web` one neither opens the shard nor flushes nor sweeps: a `work` one on the same stores does."""
        self._settings = settings
        self._role: Role = role
        self._watch_link: Link | None = None
        self._siblings = Siblings()
        self._places = premises.places
        self._book = PolicyBook(settings, read_settings)
        self._jobs: list[Job] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._linger: asyncio.TimerHandle | None = None

    def policy(self) -> Policy:
        """The policy in force at this moment."""
        return self._book.current

    def reload_and_tell(self) -> None:
        """The configuration was read again; what came of it is in the log. For SIGHUP."""
        try:
            done = self._book.reload()
        except SettingsInvalid as problem:
            log.error("reload_refused", reason=str(problem))
        else:
            log.info("reloaded", version=done.policy.version, changed=done.is_changed, needs_restart=done.ignored)

    async def __aenter__(self) -> Engine:
        if not self._jobs:
            await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def start(self) -> None:
        """The services answer. What was begun is ended again when it fails or is cancelled. Raises StartRefused, LedgerError."""
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise

    async def _start(self) -> None:
        settings = self._settings
        judgement, deployment, advice = await self._reach_stores()
        limits = Limits(settings.redis.command_timeout_ms, settings.redis.resend_max, settings.flush.backlog_max)
        scripts = Scripts(lua_dir())
        self._shard = Shard(self._link, scripts, limits, prefix=settings.redis.prefix, number=0)
        self._posture = Posture(self._shard, judgement)
        self._watermark = Watermark()
        self._flusher = Flusher(
            self._shard,
            self._ledger,
            self._watermark,
            self.policy,
            batch_max=settings.flush.batch_max,
            lag_ms_max=settings.flush.lag_ms_max,
        )
        self._urging = Urging(self._shard)
        self._follower = Follower(self._shard, self._watermark)
        self._remembering = Remembering(self._shard, self._ledger, self.policy)
        self._ticker = Ticker(self._shard, self.policy, self._remembering.is_needed)
        lease_ms, most = settings.durable.lease_seconds * 1000, settings.recovery.rebuilds_max
        self._leaser = Leaser(self._shard, self._ledger, lease_ms)
        self._opener = Opener(
            self._shard, self._ledger, deployment, self.policy, self._ticker.expected_ms, lease_ms, rebuilds_max=most
        )
        self._new_repairer = partial(self._make_repairer, limits, scripts, deployment)
        self._books = Books(
            self._shard,
            self._ledger,
            self._watermark,
            self.policy,
            ack_timeout_ms=settings.ack.timeout_ms,
            wake_flusher=self._wake_flusher,
        )
        self._keeper = Keeper(
            self._shard,
            self._ledger,
            self._opener,
            self._flusher,
            self._watermark,
            self._books,
            self._role,
            self._posture.admit,
        )
        self._make_services(advice)
        await self._siblings.__aenter__()
        await self._keeper.open_first()
        if self._role == "work":
            self._watch_link = make_link(self._places, settings)
            await self._watch_link.start()
        self._start_jobs()

    async def _reach_stores(self) -> tuple[Judgement, Deployment, list[str]]:
        """Both stores answer, are fit for work, and belong to this deployment. Raises StartRefused, LedgerError."""
        settings = self._settings
        try:
            self._link = make_link(self._places, settings)
            self._ledger = self._make_ledger()
        except ValueError as problem:
            raise StartRefused(str(problem)) from problem
        try:
            await self._link.start()
            judgement = await judge(self._link)
        except (OSError, Refused, ReplyError, Lost, NotSent, TimeoutError) as problem:
            raise StartRefused(
                f"Redis can not be used: {str(problem) or 'no answer'}; see GATEWAY_REDIS_URL"
            ) from problem
        if judgement.refusals:
            raise StartRefused("; ".join(judgement.refusals))
        await self._ledger.open()
        await self._ledger.prepare(settings.durable.migrate)
        deployment = await self._ledger.settle_deployment(settings.shards, HASH, settings.redis.prefix)
        advice = await self._ledger.advice()
        for warning in advice:
            log.warning("durable_posture", warning=warning)
        return judgement, deployment, advice

    def _make_ledger(self) -> Ledger:
        """The durable store, not yet opened; a simulation hands in its own. Raises ValueError."""
        durable, url = self._settings.durable, self._places.database_url
        bounds = durable.model_dump(include={"pool_size", "pool_timeout_ms", "statement_timeout_ms"})
        return ledger_for(url, **bounds)

    def _make_services(self, advice: list[str]) -> None:
        ack = self._settings.ack
        acks: dict[str, Ack] = ack.model_dump(exclude={"timeout_ms"})
        self.reservations = ReservationService(self._books, acks, self._settings.locations.priority)
        self.stock = StockService(self._books, ack.stock)
        self.operations = OperationsService(
            self._shard,
            self._ledger,
            self._watermark,
            self._book,
            self._posture,
            advice,
            self._problems,
            tell_reload,
            self._siblings.metrics,
            self._ticker.warnings,
            self._new_repairer,
        )

    def _make_repairer(self, limits: Limits, scripts: Scripts, deployment: Deployment) -> Repairer:
        """A repairer of the shard, which works on it as another process would."""
        shard = Shard(self._link, scripts, limits, prefix=self._settings.redis.prefix, number=0)
        lease_ms, most = self._settings.durable.lease_seconds * 1000, self._settings.recovery.rebuilds_max
        expected_ms = self._ticker.expected_ms
        return Repairer(shard, self._ledger, deployment, self.policy, expected_ms, lease_ms, rebuilds_max=most)

    def _problems(self) -> list[str]:
        """What is wrong with the background jobs, a sentence each."""
        found = [f"{job.name} failed {job.failures} times in a row" for job in self._jobs if job.failures]
        if self._role == "web" and self._follower.is_stalled():
            found.append(f"nothing was committed for {STALLED_S} s: does a `work` process run?")
        return found

    async def _watch_urgency(self, watch: UrgencyWatch) -> int:
        """One turn of the watch: where somebody waits in another process, the flusher begins."""
        if await watch.is_urged():
            self._flusher.urge()
            self._flush_job.wake.set()
        return 1

    def _start_jobs(self) -> None:
        settings = self._settings

        def job(name: str, step: Callable[[], Awaitable[int]], pause_s: float, retry_s_max: float) -> Job:
            expected = (GatewayError, LedgerError, Fenced, ChainBroken)
            return Job(name, step, pause_seconds=pause_s, retry_seconds_max=retry_s_max, expected=expected)

        poll_s = settings.flush.poll_ms / 1000
        # A store that is back is used again within a second, so that what was due meanwhile does not wait for a long pause.
        if self._role == "web":
            self._flush_job = job("follower", self._follower.step, poll_s, 0.5)
            self._jobs = [self._flush_job]
        else:
            self._flush_job = job("flusher", self._flusher.step, poll_s, 1.0)
            sweeper = Sweeper(self._books, settings.expiry.batch_max)
            self._jobs = [self._flush_job, job("sweeper", sweeper.step, settings.expiry.sweep_ms / 1000, 0.5)]
            self._jobs.append(job("forgetter", self._opener.forgetting.step, 1.0, 1.0))
            self._jobs.append(job("rememberer", self._remembering.step, 0.25, 1.0))
        if self._watch_link is not None:
            watch = UrgencyWatch(self._watch_link, self._shard, timeout_ms=settings.redis.command_timeout_ms)
            self._jobs.append(job("urgency", partial(self._watch_urgency, watch), 0.0, 1.0))
        self._jobs += [
            job("keeper", self._keeper.step, 0.2, 0.5),
            job("posture", self._posture.step, LOOK_S, 0.5),
            job("ticker", self._ticker.step, TICK_S, TICK_S),
            job("leaser", self._leaser.step, self._leaser.pause_s, self._leaser.pause_s),
        ]
        self._tasks = [asyncio.create_task(job.run(), name=job.name) for job in self._jobs]

    def _wake_flusher(self, is_urgent: bool) -> None:
        """The log has something new: who waits for its commit is served at once, else changes may gather for a moment."""
        if is_urgent:
            self._flush_job.wake.set()
            if self._role == "web":
                self._urging.urge()
        elif self._linger is None:
            pause_s = self._settings.flush.linger_ms_max / 1000
            self._linger = asyncio.get_running_loop().call_later(pause_s, self._end_linger)

    def _end_linger(self) -> None:
        self._linger = None
        self._flush_job.wake.set()

    async def _stop(self) -> None:
        for job in self._jobs:
            job.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._linger is not None:
            self._linger.cancel()
        if self._jobs and self._role != "web":
            await self._flush_rest()
        await self._siblings.__aexit__()
        if hasattr(self, "_ledger"):
            await self._ledger.close()
        if hasattr(self, "_link"):
            await self._link.close()
        if self._watch_link is not None:
            await self._watch_link.close()

    async def _flush_rest(self) -> None:
        """What is in the log is committed, if the stores still answer; else it is found in the log at the next start."""
        try:
            await self._flusher.drain(DRAIN_S)
        except (GatewayError, LedgerError, TimeoutError, Fenced, ChainBroken, EntryInvalid) as problem:
            log.warning("left_in_log", problem=str(problem) or type(problem).__name__)
