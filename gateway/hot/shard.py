"""One shard of the hot store: calls its scripts, tells what their outcome is, and never sends again what does not know itself.

A call ends with a reply, whose status says what happened, or with an error, whose outcome says whether it may have (ARCHITECTURE.md).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from gateway import metrics
from gateway.domain.errors import Corrupt, HotStoreUnavailable, Outcome, Overloaded, ShardHalted, ShardRecovering
from gateway.domain.halt import halted
from gateway.hot.connection import Link, Lost, NotSent, QueueFull, ReplyError
from gateway.hot.damage import is_meddled
from gateway.hot.keys import Keys
from gateway.hot.scripts import Scripts

#: Error words that refuse a command before it runs, and after which this connection is no use any more.
DROPS = frozenset({"READONLY", "LOADING", "MASTERDOWN", "MOVED", "NOAUTH"})
#: All error words with which a server refuses a command before it runs.
NOT_RUN = DROPS | {"OOM", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "ASK", "NOPERM"}
#: What the servers say, Redis and Valkey, when a script may not run a command. Once it has written it answers POISONED instead.
DENIED = ("The user executing the script can't run", "ACL failure in script")

LOADS_MAX = 3  # times one call may find its library gone
SHORTEST = 4  # nonce, status, now, checkpoint: what every operation answers at least


class Answer(NamedTuple):
    """What a script answered: the status of its header, then its fields. `now_ms` is Redis' clock.

    `is_resent`: the reply to an earlier attempt was lost, so that this one may find what that one did, and what others did since.
    """

    status: str
    fields: list[str]
    now_ms: int
    checkpoint: int
    is_resent: bool = False

    def nested(self) -> list[list[str]]:
        """The fields of a batch: per operation its status and fields."""
        return cast("list[list[str]]", self.fields)


class Started(NamedTuple):
    """A call on its way: its nonce, the future of its raw reply, and between when and when, by the loop's clock."""

    nonce: str
    reply: asyncio.Future[Any]
    began_s: float
    give_up_s: float


@dataclass(slots=True)
class Limits:
    """Bounds of one call. Times in ms."""

    command_timeout_ms: int
    resend_max: int
    backlog_max: int


class Shard:
    """The scripts of one shard under one epoch."""

    def __init__(self, link: Link, scripts: Scripts, limits: Limits, *, prefix: str, number: int) -> None:
        self.link = link
        self.scripts = scripts
        self.number = number
        self.prefix = prefix
        self.keys = Keys(prefix, number, 0)
        self.epoch = 0
        self.lineage = ""
        self.is_open = False
        self.halted_reason = ""  # why it waits for the operator; empty = it does not
        self.checkpoint = 0
        self._limits = limits
        self._nonce = 0
        self._clock_offset_ms = 0.0  # Redis' clock minus the loop's; 0 = not learned yet
        self._loop = asyncio.get_running_loop()
        self.closed = asyncio.Event()

    def open_under(self, epoch: int, generation: int, lineage: str, checkpoint: int) -> None:
        """Calls are answered again, under this epoch."""
        self.keys = Keys(self.prefix, self.number, generation)
        self.epoch, self.lineage, self.checkpoint = epoch, lineage, checkpoint
        self.is_open, self.halted_reason = True, ""
        self.closed.clear()

    def close(self, halted_reason: str = "") -> None:
        """Calls are refused until the shard is opened again; with a reason, they are told that it waits for the operator."""
        self.is_open, self.halted_reason = False, halted_reason or self.halted_reason
        self.closed.set()

    def now_ms(self) -> int:
        """About what Redis' clock says now; for bounds, never for deciding who holds what."""
        return int(self._loop.time() * 1000 + self._clock_offset_ms)

    def learn_clock(self, now_ms: int) -> None:
        """Redis' clock says `now_ms` now."""
        self._clock_offset_ms = now_ms - self._loop.time() * 1000

    def loop_time(self) -> float:
        """The loop's monotonic clock, in seconds."""
        return self._loop.time()

    def start(self, name: str, keys: tuple[str, ...], arguments: tuple[str, ...], *, within_ms: int = 0) -> Started:
        """The script's first call is on its way; `run` takes it from there. Raises NotSent, QueueFull, ShardRecovering."""
        if self.link.lineage != self.lineage:
            self.close()
        if not self.is_open:
            raise ShardHalted(halted(self.halted_reason)) if self.halted_reason else ShardRecovering
        limits, began_s = self._limits, self._loop.time()
        give_up_s = began_s + min(within_ms or limits.command_timeout_ms, limits.command_timeout_ms) / 1000
        nonce, reply = self._send(name, keys, arguments, give_up_s)
        return Started(nonce, reply, began_s, give_up_s)

    def _send(
        self, name: str, keys: tuple[str, ...], arguments: tuple[str, ...], give_up_s: float
    ) -> tuple[str, asyncio.Future[Any]]:
        self._nonce += 1
        nonce = str(self._nonce)
        late_ms = int(give_up_s * 1000 + self._clock_offset_ms) if self._clock_offset_ms else 0
        own = self.keys
        reply = self.link.call(
            "FCALL",
            self.scripts[name].function,
            3 + len(keys),
            own.meta,
            own.log,
            own.due,
            *keys,
            nonce,
            self.epoch,
            late_ms,
            self._limits.backlog_max,
            *arguments,
        )
        return nonce, reply

    async def run(
        self,
        name: str,
        keys: tuple[str, ...],
        arguments: tuple[str, ...],
        *,
        within_ms: int = 0,
        started: Started | None = None,
    ) -> Answer:
        """The script has run once, or its repetition was recognised. `within_ms`: not applied when it waits longer.

        Raises:
            ShardRecovering: the shard is closed; nothing happened.
            Overloaded: too much is under way, or the time was over; nothing happened.
            HotStoreUnavailable: Redis does not answer; the error's outcome tells whether it may have happened.
            Corrupt: the script broke off while writing; the shard is poisoned and closed.
        """
        sent = loads = 0
        give_up_s = self._loop.time() + (within_ms or self._limits.command_timeout_ms) / 1000
        while True:
            try:
                if started is None:
                    started = self.start(
                        name, keys, arguments, within_ms=max(int((give_up_s - self._loop.time()) * 1000), 1)
                    )
                reply = await started.reply
            except ReplyError as problem:
                await self._settle_error(problem, name, (*keys, *arguments), is_unknown=sent > 0)
                loads += 1
                if loads > LOADS_MAX:  # the server takes the library and still does not know it
                    raise HotStoreUnavailable("Redis does not keep the scripts", outcome=_outcome(sent)) from problem
            except QueueFull as problem:
                raise _overloaded(str(problem), sent) from problem
            except ShardRecovering as problem:
                raise type(problem)(problem.detail, outcome=_outcome(sent)) from problem
            except (Lost, NotSent) as problem:
                sent += isinstance(problem, Lost)
                await self._wait_for_link(give_up_s, sent)
            else:
                if isinstance(reply, list) and len(reply) >= SHORTEST and reply[0] == started.nonce:
                    metrics.HOT_COMMAND_SECONDS[name].observe(self._loop.time() - started.began_s)
                    return self._judge(reply, sent)
                self.link.drop()
                sent += 1
                await self._wait_for_link(give_up_s, sent)
            started = None

    def _judge(self, reply: list[str], sent: int) -> Answer:
        status = reply[1]
        if status in ("CLOSED", "POISONED"):
            self.close()
            raise ShardRecovering(outcome=_outcome(sent or status == "POISONED"))
        now_ms, checkpoint = int(reply[2]), int(reply[3])
        self.learn_clock(now_ms)
        self.checkpoint = max(self.checkpoint, checkpoint)
        if status == "LATE":
            raise _overloaded("the request waited too long", sent)
        if status == "LAPSED":
            raise ShardRecovering("the durable store was not reached for too long", outcome=_outcome(sent))
        if status == "BACKLOG":
            raise _overloaded("too much is not yet persisted", sent)
        return Answer(status, reply[4:], now_ms, checkpoint, sent > 0)

    async def _settle_error(self, problem: ReplyError, name: str, called: tuple[str, ...], *, is_unknown: bool) -> None:
        """Return when the call may be made again; else raise what the caller is told."""
        if is_unknown_function(problem):
            try:
                await self.load_scripts()
            except HotStoreUnavailable as failed:
                raise HotStoreUnavailable(failed.detail, outcome=_outcome(is_unknown)) from failed
            return
        if problem.word in NOT_RUN:
            if problem.word in DROPS:
                self.link.drop()
            raise HotStoreUnavailable(f"Redis refused with {problem.word}", outcome=_outcome(is_unknown)) from problem
        if any(words in str(problem) for words in DENIED):
            raise HotStoreUnavailable("Redis denies the scripts a command", outcome=_outcome(is_unknown)) from problem
        if await is_meddled(self, f"{name}: {problem}", called):  # a rebuild mends it
            raise ShardRecovering(outcome=_outcome(is_unknown)) from problem
        raise Corrupt(f"the script {name} failed: {problem}") from problem

    async def _wait_for_link(self, give_up_s: float, sent: int) -> None:
        left_s = give_up_s - self._loop.time()
        if sent > self._limits.resend_max or left_s <= 0 or not await self.link.wait_connected(left_s):
            raise HotStoreUnavailable("Redis does not answer", outcome=_outcome(sent))

    async def load_scripts(self) -> None:
        """The server knows every script. Safe to repeat, also by several gateways at once."""
        try:
            await self.link.call("FUNCTION", "LOAD", self.scripts.text)
        except ReplyError as problem:
            if "already exists" not in str(problem):
                raise HotStoreUnavailable(f"the scripts could not be loaded: {problem}") from problem
        except (Lost, NotSent) as problem:
            raise HotStoreUnavailable("the scripts could not be loaded") from problem

    async def verify(self) -> None:
        """The server is the primary, so an epoch may be raised for it. Raises HotStoreUnavailable."""
        try:
            await self.link.verify()
        except NotSent as problem:
            raise HotStoreUnavailable(f"this Redis may not be the primary: {problem}") from problem

    async def ask_script(
        self, name: str, keys: tuple[str, ...], *arguments: str | int, lineage: str | None = None
    ) -> list[str]:
        """The raw reply of a script that is no operation: `load`, `open` and `shut`, which may be repeated."""
        function = self.scripts[name].function
        return await self.ask_list("FCALL", function, len(keys), *keys, *arguments, lineage=lineage)

    async def ask_list(self, *arguments: str | int, lineage: str | None = None) -> list[Any]:
        """As `ask`, for a command whose reply is an array."""
        reply = await self.ask(*arguments, lineage=lineage)
        if not isinstance(reply, list):
            raise HotStoreUnavailable(f"Redis answered {arguments[0]} with no array")
        return reply

    async def scan(self, cursor: str, pattern: str, count: int) -> tuple[str, list[str]]:
        """One page of the keys that match: (cursor of the next, "0" at the end; keys, some perhaps twice)."""
        page = await self.ask_list("SCAN", cursor, "MATCH", pattern, "COUNT", count)
        return str(page[0]), page[1]

    async def ask(self, *arguments: str | int, lineage: str | None = None) -> object:
        """The reply of a plain command that changes nothing, or that may be repeated; with `lineage` of that server alone.

        Raises HotStoreUnavailable.
        """
        for is_last in (False, True):
            if lineage not in (None, self.link.lineage):
                raise HotStoreUnavailable("another Redis has become the primary")
            try:
                return await self.link.call(*arguments)
            except ReplyError as problem:
                if is_unknown_function(problem) and not is_last:
                    await self.load_scripts()
                    continue
                raise HotStoreUnavailable(f"Redis refused {arguments[0]}: {problem}") from problem
            except (Lost, NotSent) as problem:
                if is_last or not await self.link.wait_connected(self._limits.command_timeout_ms / 1000):
                    raise HotStoreUnavailable("Redis does not answer") from problem
        raise AssertionError("unreachable")


def is_unknown_function(problem: ReplyError) -> bool:
    """Whether the server does not know the library: nothing ran, so it may be loaded and the call made again."""
    return "Function not found" in str(problem)


def _overloaded(why: str, sent: int) -> Overloaded | HotStoreUnavailable:
    """`overloaded` promises that nothing happened; after a lost reply nobody can."""
    return HotStoreUnavailable(f"{why}; an answer was lost", outcome="unknown") if sent else Overloaded(why)


def _outcome(may_have_run: object) -> Outcome:
    return "unknown" if may_have_run else "not_applied"
