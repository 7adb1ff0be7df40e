"""One run of one seed: servers, gateways, clients and a nemesis in virtual time, and the verdict of the checker."""

from __future__ import annotations

import asyncio
import gc
import random
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.app.role import Role
from gateway.service.opening import OWNER_LEASE_MS
from gateway.service.ticking import LEAD_MS
from tests.faults.account import Violation
from tests.faults.checker import check
from tests.faults.history import Circumstances, History
from tests.simulation.commands import Refusal
from tests.simulation.database import Database
from tests.simulation.gateway import Gateway
from tests.simulation.hot import HotStore
from tests.simulation.ledger import DatabaseWay
from tests.simulation.loop import SimulatedLoop, Standstill
from tests.simulation.nemesis import Nemesis
from tests.simulation.network import Connection, Network
from tests.simulation.randomness import WALL_S, seeded
from tests.simulation.reading import META, stores_of
from tests.simulation.server import RedisServer
from tests.simulation.trace import Trace
from tests.simulation.traffic import SimulatedTraffic

SHOP: Final = "sim"
CALM_S_MAX: Final = 45.0
RECOVERY_S_MAX: Final = 10.0
#: A deadline that is further away than this does not fall due while the stores are read.
CALM_AHEAD_MS: Final = 20_000
#: By how much a turned clock moves the shard's: a jump by the ticker's lead, what is taken for none by itself, a drift by little.
CLOCK_OFF_MS_MAX: Final = 4_000
#: Errors that a job may end a step with, beside those of the stores: the flusher was fenced, or met a foreign log.
EXPECTED_ERRORS: Final = ("Fenced", "ChainBroken", "EntryInvalid")
VIOLATIONS_TOLD_MAX: Final = 20
LINES_TOLD_MAX: Final = 30


@dataclass
class Outcome:
    """What came of a run."""

    seed: str
    violations: list[Violation]
    trace: Trace
    faults: list[str]
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        told = [f"seed {self.seed}: {len(self.violations)} violations; faults: {'; '.join(self.faults) or 'none'}"]
        told += [str(one) for one in self.violations[:VIOLATIONS_TOLD_MAX]]
        return "\n".join(told)

    def story(self) -> str:
        """The verdict, and the lines of the trace that speak of what the first violation is about."""
        if not self.violations:
            return str(self)
        first = self.violations[0]
        words = {word.strip(":,()") for word in f"{first.where} {first.detail}".split()}
        about = {word for word in words if word.startswith("rsv_") or len(word) == 16}
        about |= {word[-16:] for word in about}
        numbers = [at for at, line in enumerate(self.trace.lines) if any(word in repr(line) for word in about)]
        faults = [at for at, line in enumerate(self.trace.lines) if line[1] == "nemesis"]
        picked = [self.trace.text(at, at + 1) for at in sorted({*numbers[:LINES_TOLD_MAX], *faults})]
        return "\n".join([str(self), *picked, f"python -m tests.simulation --seed {self.seed} --trace"])


class World:
    """Everything of one run."""

    def __init__(self, seed: str, loop: SimulatedLoop) -> None:
        self.seed = seed
        self.loop = loop
        self.trace = Trace(loop)
        self.plan = random.Random(f"{seed}-plan")
        self.network = Network(loop, random.Random(f"{seed}-network"))
        self.hot = HotStore(self, has_sentinels=self.plan.random() < 0.35)
        self.database = Database(lambda: int((WALL_S + loop.time()) * 1000))
        self.history = History()
        self.is_hot_lost = self.is_clock_turned = self.has_zombie = False
        self.jumped_ms = 0
        self.troubled_ms: list[tuple[int, int]] = []
        self.healed_s: float | None = None
        self._ticked_s, self._stood_ms = loop.time(), 0
        self.watchers: list[Any] = []
        self.gateways = [self._gateway(at, role) for at, role in enumerate(self._roles())]
        self.clients = self.plan.randint(3, 8)
        pause_s_max = self.plan.choice([0.2, 0.5, 0.8, 1.2]) * self.clients / 4
        self.traffic = SimulatedTraffic(seed, self.gateways, SHOP, self.history, self.instants, pause_s_max)
        self.nemesis = Nemesis(self)

    def _roles(self) -> list[Role]:
        """One gateway, or several of a kind, or those that answer beside one that works."""
        count = self.plan.choice([1, 1, 1, 2, 2, 3])
        if count > 1 and self.plan.random() < 0.3:
            return ["work", *(["web"] * (count - 1))]  # type: ignore[list-item]
        return ["all"] * count

    def _gateway(self, at: int, role: Role) -> Gateway:
        way = DatabaseWay(random.Random(f"{self.seed}-database-{at}"))
        way.observe = lambda word: self._observe_database(f"g{at}", word)
        offset_s = self.plan.uniform(-5, 5)
        return Gateway(f"g{at}", self.hot.url, role, self.database, way, self.network, offset_s)

    # -- what is seen of it -----------------------------------------------------------------------------------

    def observe(self, server: RedisServer, connection: Connection | None, arguments: list[str], reply: Any) -> None:
        """A server has executed a command."""
        process = None if connection is None else connection.process
        name = "" if process is None else process.name
        word = arguments[1].partition("_")[0] if arguments[0] == "FCALL" else arguments[0]
        told = str(reply) if isinstance(reply, Refusal) else reply
        self.trace.add(name, server.place[0], word, arguments[2:] if word != "FUNCTION" else "", told)
        if word == "tick":
            self._see_tick()
        for watcher in list(self.watchers):
            watcher(name, word)

    def _see_tick(self) -> None:
        """A clock that nobody lets go on stands still: that happens where something is broken, and nowhere else."""
        now_s = self.loop.time()
        if self.healed_s is None or self._ticked_s < self.healed_s:
            self._stood_ms = max(self._stood_ms, int((now_s - self._ticked_s) * 1000) - LEAD_MS)
        self._ticked_s = now_s

    def _observe_database(self, gateway: str, word: str) -> None:
        """The database has done something for a gateway."""
        if word != "read":
            row = self.database.row(0)
            self.trace.add(gateway, "database", word, row.epoch, row.checkpoint, row.state)
        for watcher in list(self.watchers):
            watcher(gateway, word)

    def instants(self) -> tuple[int, int]:
        """The earliest and the latest instant that a client's clock may show, in ms: nobody sets theirs."""
        now_ms = int((WALL_S + self.loop.time()) * 1000)
        return now_ms, now_ms + 1

    def shard_ms(self) -> int:
        """What the shard's clock says: its primary's, without the jumps that gateways saw, as far as they let it go on."""
        meta = self.hot.primary.keys.values.get(META) or {}
        bound_ms, _, shift_ms = meta.get("horizon", "").partition(" ")
        time_ms = self.hot.primary.now_us() // 1000 + int(shift_ms or 0)
        return max(min(time_ms, int(bound_ms)) if bound_ms else time_ms, int(meta.get("clock", 0)))

    # -- the run ----------------------------------------------------------------------------------------------

    async def run(self) -> list[Violation]:
        """The run from its start to the verdict."""
        for gateway in self.gateways:
            gateway.start()
        async with self.traffic.flowing(self.clients):
            await self.nemesis.rage(self.plan.uniform(1.0, 2.5))
            await asyncio.sleep(self.plan.uniform(0.3, 0.8))
        is_calm = await self._calm()
        await self.traffic.audit()
        found = self._judged(is_calm)
        if not found and self.plan.random() < 0.2:
            found = await self._conservation()
        return found

    async def _calm(self) -> bool:
        """Whether all is committed and nothing falls due soon, within a time."""
        end_s = self.loop.time() + CALM_S_MAX
        while self.loop.time() < end_s:
            if all(gateway.is_ready for gateway in self.gateways) and self._lag() == 0 and not self._is_due_soon():
                return True
            await asyncio.sleep(0.25)
        return False

    def _lag(self) -> int:
        meta = self.hot.primary.keys.values.get(META) or {}
        return int(meta.get("seq", -1)) - self.database.row(0).checkpoint

    def _is_due_soon(self) -> bool:
        keys = self.hot.primary.keys
        meta = keys.values.get(META) or {}
        due = keys.values.get(f"{{rg0}}:{meta.get('gen')}:due")
        return due is not None and bool(due.order) and due.order[0][0] < self.shard_ms() + CALM_AHEAD_MS

    def _judged(self, is_calm: bool) -> list[Violation]:
        # A gateway that died or froze while it was opening the shard owns it until its time there is over.
        is_abandoned = any(told.startswith("gateway") for told in self.nemesis.told)
        circumstances = Circumstances(
            SHOP,
            is_hot_lost=self.is_hot_lost,
            troubled_ms=tuple(self.troubled_ms),
            healed_s=self.healed_s,
            recovery_seconds_max=RECOVERY_S_MAX + (OWNER_LEASE_MS / 1000 if is_abandoned else 0),
            clock_off_ms=self._clock_off_ms(),
        )
        found = [] if is_calm else [Violation("K16", "calm", self._why_not_calm())]
        if self.database.tables.shards.get(0) is not None:
            stores = stores_of(self.database.tables, self.hot.primary, self.shard_ms())
            judged = check(self.history, stores, circumstances)
            # Reads of a primary that was replaced and does not know it are old; how long, its lease decides.
            found += [one for one in judged if not (self.has_zombie and one.law == "K10" and _is_read(one))]
        found += [Violation("K17", "loop", failure) for failure in self.loop.failures]
        for error in self.trace.errors:
            if not any(f"'{name}" in error for name in EXPECTED_ERRORS):
                found.append(Violation("K17", "log", error))
        return found

    def _clock_off_ms(self) -> int:
        """What the shard's clock may differ from that of the clients."""
        if not self.is_clock_turned:
            return self._stood_ms
        # Where no gateway saw time pass while the clock was turned, nobody knows that it was.
        is_watched = not any(told.startswith("gateway") for told in self.nemesis.told)
        return self._stood_ms + CLOCK_OFF_MS_MAX + (0 if is_watched else self.jumped_ms)

    def _why_not_calm(self) -> str:
        ready = [gateway.name for gateway in self.gateways if gateway.is_ready]
        return f"ready: {ready}, lag {self._lag()}, due soon: {self._is_due_soon()}, row {self.database.row(0)}"

    async def _conservation(self) -> list[Violation]:
        """What a gateway's own check finds."""
        gateway = self.gateways[0]
        told = await gateway.ask(lambda engine: engine.operations.conservation(), 0, 0)
        violations = [] if told is None else told.violations
        return [Violation("K2", "conservation", str(one)) for one in violations]


def run_seed(seed: str) -> Outcome:
    """The run of this seed, and what came of it."""
    loop = SimulatedLoop()
    asyncio.set_event_loop(None)
    world = World(seed, loop)
    loop.connector = world.network
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        with seeded(seed, loop), world.trace.logging():
            try:
                found = loop.run_until_complete(world.run())
            except Standstill as problem:
                found = [Violation("K16", "loop", str(problem))]
            finally:
                _end(loop, world)
    finally:
        if is_collecting:
            gc.enable()
        loop.close()
    counts = {
        "calls": len(world.history.calls),
        "done": sum(call.is_done for call in world.history.calls),
        "unknown": sum(call.is_unknown for call in world.history.calls),
        "lost": sum(call.told.get("code") == "reservation_lost" for call in world.history.calls),
        "events": len(world.database.tables.rows["events"]),
        "epoch": world.database.row(0).epoch,
        "seconds": int(loop.time() - 1000),
    }
    return Outcome(seed, found, world.trace, world.nemesis.told, counts)


def _is_read(violation: Violation) -> bool:
    """Whether it may be about what was only read: a replay reads, too."""
    return not violation.where.startswith("reserve ")


def _end(loop: SimulatedLoop, world: World) -> None:
    """No task is left: what was frozen or killed is thawed to be cancelled, so that none is destroyed while it waits."""
    world.trace.add("end")
    lines, errors = len(world.trace.lines), len(world.trace.errors)
    for _ in range(50):
        tasks = [task for task in asyncio.all_tasks(loop) if not task.done()]
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        for gateway in world.gateways:
            for process in gateway.processes:
                loop.thaw(process)
        try:
            loop.run_until_complete(_a_moment())
        except Standstill:
            break
    del world.trace.lines[lines:], world.trace.errors[errors:]


async def _a_moment() -> None:
    await asyncio.sleep(0.01)
