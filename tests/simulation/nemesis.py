"""The nemesis: at random moments of a run it breaks what can break, alone or together, and heals everything in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from tests.simulation.faults_of_hot import FaultsOfHot

if TYPE_CHECKING:
    from tests.simulation.gateway import Gateway
    from tests.simulation.world import World

READY_S_MAX: Final = 40.0
LOOK_S: Final = 0.1
#: What a server or the database has just done for a gateway when it is struck, before it learns of it.
WORDS: Final = (
    *(
        "group",
        "reserve",
        "confirm",
        "release",
        "extend",
        "batch",
        "put",
        "adjust",
        "settle",
        "expire",
        "ticket",
        "load",
    ),
    *("open", "HMGET", "XRANGE", "SCAN", "INFO", "FUNCTION", "UNLINK", "SET"),
    *("gate", "store", "commit", "read"),
)
STRIKE_S_MAX: Final = 1.5

Fault = Callable[[], Awaitable[str]]


class Nemesis(FaultsOfHot):
    """Breaks things by the plan of the run's seed. `told` says what it did."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.told: list[str] = []
        self.kinds: dict[str, tuple[int, Fault]] = {
            "gateway killed": (4, self.kill_gateway),
            "gateway frozen": (3, self.freeze_gateway),
            "gateway stopped": (1, self.stop_gateway),
            "connections cut": (3, self.cut_connections),
            "way broken": (4, self.break_way),
            "database away": (3, self.database_away),
            "commit unknown": (4, self.commit_unknown),
            "server restarted": (4, self.restart_server),
            "server emptied": (2, self.empty_server),
            "server frozen": (2, self.freeze_server),
            "server refuses": (2, self.refuse),
            "keys taken away": (2, self.take_keys),
            "log damaged": (1, self.damage_log),
            "failover": (6, self.fail_over),
            "clock": (2, self.turn_clock),
        }

    async def rage(self, seconds: float) -> None:
        """Some faults have happened, and everything is healed and ready again."""
        plan, world = self.plan, self.world
        kinds = list(self.kinds)
        weights = [self.kinds[kind][0] for kind in kinds]
        chosen = plan.choices(kinds, weights, k=plan.choice([0, 1, 1, 1, 2, 2, 3, 4]))
        self.is_time_watched = not any(kind.startswith("gateway") for kind in chosen)
        moments = sorted(plan.uniform(0.05, seconds) for _ in chosen)
        if not chosen:
            await asyncio.sleep(seconds)
            return
        begun_ms: list[int] = []
        await asyncio.gather(*[self._strike(kind, at_s, begun_ms) for kind, at_s in zip(chosen, moments, strict=True)])
        self.heal()
        world.healed_s = world.loop.time()
        world.trace.add("nemesis", "healed")
        for _ in range(round(READY_S_MAX / LOOK_S)):
            if all(gateway.is_ready for gateway in world.gateways):
                break
            await asyncio.sleep(LOOK_S)
        world.troubled_ms.append((min(begun_ms), world.instants()[1]))
        await world.traffic.probe()

    async def _strike(self, kind: str, at_s: float, begun_ms: list[int]) -> None:
        await asyncio.sleep(at_s)
        begun_ms.append(self.world.instants()[0])
        self.world.trace.add("nemesis", "begins", kind)
        told = await self.kinds[kind][1]()
        self.told.append(f"{kind} ({told})")
        self.world.trace.add("nemesis", "has done", kind, told)

    def heal(self) -> None:
        """Nothing is broken any more."""
        world = self.world
        world.watchers.clear()
        self.heal_hot()
        for gateway in world.gateways:
            way = gateway.way
            way.is_away = way.is_silent = False
            way.commit_fates.clear()
            if gateway.process.is_dead:
                gateway.start()
            elif not gateway.process.is_running:
                world.loop.thaw(gateway.process)

    # -- gateways ---------------------------------------------------------------------------------------------

    def _some_gateway(self) -> Gateway:
        return self.plan.choice(self.world.gateways)

    async def _at_some_point(self, gateway: Gateway, strike: Callable[[], None]) -> str:
        """The strike has come: now, or when a chosen thing was done for the gateway and it does not know it yet."""
        plan, watchers = self.plan, self.world.watchers
        if plan.random() < 0.3:
            strike()
            return "at any moment"
        word, skipped = plan.choice(WORDS), plan.choice([0, 0, 1, 3])
        struck = asyncio.get_running_loop().create_future()
        left = [skipped]

        def watch(name: str, done: str) -> None:
            if name != gateway.name or done != word or struck.done():
                return
            if left[0]:
                left[0] -= 1
                return
            strike()
            struck.set_result(None)

        watchers.append(watch)
        try:
            async with asyncio.timeout(STRIKE_S_MAX):
                await struck
        except TimeoutError:
            strike()
            return f"in vain for {word}"
        finally:
            if watch in watchers:
                watchers.remove(watch)
        return f"after {word}"

    async def kill_gateway(self) -> str:
        """kill -9, and some time later it is started again."""
        gateway = self._some_gateway()
        told = await self._at_some_point(gateway, gateway.kill)
        away_s = self.plan.choice([0.01, 0.1, 0.5, 1.5])
        await asyncio.sleep(away_s)
        if gateway.process.is_dead:
            gateway.start()
        return f"{gateway.name} {told}, away for {away_s} s"

    async def freeze_gateway(self) -> str:
        """SIGSTOP, and some time later SIGCONT."""
        gateway = self._some_gateway()
        process = gateway.process
        told = await self._at_some_point(gateway, process.freeze)
        frozen_s = self.plan.choice([0.05, 0.4, 1.0, 2.5, 4.0, 8.0])
        await asyncio.sleep(frozen_s)
        if not process.is_dead:
            self.world.loop.thaw(process)
        return f"{gateway.name} {told}, for {frozen_s} s"

    async def stop_gateway(self) -> str:
        """SIGTERM: it drains and ends, and is started again."""
        gateway = self._some_gateway()
        engine = gateway.engine
        if engine is None or gateway.process.is_dead or not gateway.process.is_running:
            return "was not there"
        process = gateway.process
        self.world.loop.create_task(engine._stop(), context=process.context)
        await asyncio.sleep(self.plan.uniform(0.01, 3))
        if gateway.process is process and not process.is_dead:
            gateway.kill()
            gateway.start()
        return gateway.name

    # -- ways -------------------------------------------------------------------------------------------------

    async def cut_connections(self) -> str:
        """All connections of a gateway to Redis are reset, some times."""
        gateway, times = self._some_gateway(), self.plan.choice([1, 2, 5])
        network = self.world.network
        for _ in range(times):
            await self._at_some_point(gateway, lambda: network.cut(lambda one: one.process is gateway.process) and None)
        return f"{gateway.name} {times} times"

    async def break_way(self) -> str:
        """The way of one gateway to Redis swallows, refuses or delays for a time."""
        gateway, world = self._some_gateway(), self.world
        how = self.plan.choice(["requests", "replies", "replies", "refused", "slow", "slow", "both"])
        ways = [world.network.way(gateway.name, place) for place in world.network.listeners if place[1] == 6379]
        for way in ways:
            way.swallows_requests = how in {"requests", "both"}
            way.swallows_replies = how in {"replies", "both"}
            way.is_refused = how == "refused"
            way.delay_s_max = 0.4 if how == "slow" else way.delay_s_max
        if how == "refused":
            world.network.cut(lambda one: one.process is gateway.process)
        broken_s = self.plan.choice([0.1, 0.6, 1.5, 3.0])
        await asyncio.sleep(broken_s)
        self.mend_ways(gateway.name)
        return f"{gateway.name} {how} for {broken_s} s"

    # -- the database -----------------------------------------------------------------------------------------

    async def database_away(self) -> str:
        """The database refuses connections, or is silent, for one gateway or for all."""
        world, how = self.world, self.plan.choice(["away", "silent", "cut"])
        gateways = self.plan.choice([world.gateways, [self._some_gateway()]])
        away_s = self.plan.choice([0.1, 0.7, 2.0, 4.0])

        def strike() -> None:
            for gateway in gateways:
                if how == "silent":
                    gateway.way.is_silent = True
                else:
                    gateway.way.is_away = True
                    gateway.way.cut()

        told = await self._at_some_point(gateways[0], strike)
        await asyncio.sleep(0.01 if how == "cut" else away_s)
        for gateway in gateways:
            gateway.way.is_away = gateway.way.is_silent = False
        return f"{how} for {len(gateways)} gateways {told}, {away_s} s"

    async def commit_unknown(self) -> str:
        """The answers of some COMMITs are lost; some of them have committed."""
        gateway, fates = self._some_gateway(), list[Any]()
        for _ in range(self.plan.choice([1, 1, 3])):
            fates.append(self.plan.choice(["lost before", "lost after", "lost and late"]))
        gateway.way.commit_fates += fates
        await asyncio.sleep(self.plan.uniform(0.1, 1))
        return f"{gateway.name} {', '.join(fates)}"
