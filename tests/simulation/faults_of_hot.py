"""What may happen to the Redis servers of a run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tests.simulation.network import DELAY_S
from tests.simulation.reading import META

if TYPE_CHECKING:
    from tests.simulation.server import RedisServer
    from tests.simulation.world import World

REFUSALS: Final = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "NOREPLICAS Not enough good replicas to write.",
    "BUSY Redis is busy running a script.",
    "LOADING Redis is loading the dataset in memory",
    "NOPERM this user has no permissions to run the 'fcall' command",
)
#: How far all clocks are set: hardly, by a minute, an hour, or further than anything in Redis lives.
JUMPS_MS: Final = (2_000, 60_000, 3_600_000, 172_800_000)


class FaultsOfHot:
    """Those faults; each returns in words what it did."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.plan = world.plan
        self.is_time_watched = True
        self._is_failing_over = False

    @property
    def _primary(self) -> RedisServer:
        return self.world.hot.primary

    def mend_ways(self, gateway: str) -> None:
        """The gateway's ways to Redis are right again."""
        network = self.world.network
        for place in network.listeners:
            way = network.way(gateway, place)
            way.is_refused = way.swallows_requests = way.swallows_replies = False
            way.delay_s_max = DELAY_S[1]

    def heal_hot(self) -> None:
        """Both servers are there, one as the replica of the other, and everybody knows which."""
        hot, world = self.world.hot, self.world
        for server in hot.servers:
            server.refusal, server.is_full, server.is_loading, server.lag = "", False, False, 0
            if server.is_frozen:
                server.thaw()
        if not hot.primary.is_up:
            hot.primary.start()
        self._demote(hot.other)
        hot.tell_sentinels()
        for gateway in world.gateways:
            self.mend_ways(gateway.name)

    def _demote(self, server: RedisServer) -> None:
        """The server is a replica of the primary, and has dropped its clients."""
        if server.primary is self._primary and server.is_up:
            return
        if server.is_up:
            server.kill()
        server.replicate(self._primary)
        server.is_up = True

    async def restart_server(self) -> str:
        """kill -9, and it comes back with its file: whole, without its end, or with nothing."""
        server = self._primary
        if self._is_failing_over or not server.is_up:
            return "was not there"
        lost = self.plan.choice([0, 0, 1, 3, 10, 60, None])
        server.kill()
        away_s = self.plan.choice([0.02, 0.3, 1.5])
        await asyncio.sleep(away_s)
        if server.is_up or server is not self._primary:
            return "somebody else was faster"
        missing = server.start(lost)
        self.world.is_hot_lost |= missing > 0
        if self.plan.random() < 0.3:
            server.is_loading = True
            await asyncio.sleep(self.plan.uniform(0.05, 0.5))
            server.is_loading = False
        return f"without {missing} effects, away for {away_s} s"

    async def empty_server(self) -> str:
        """FLUSHALL."""
        if not self._primary.is_up:
            return "was not there"
        self.world.is_hot_lost = True
        self._primary.execute(["FLUSHALL"])
        if self.plan.random() < 0.3:
            self._primary.execute(["FUNCTION", "FLUSH"])
        return "once"

    async def freeze_server(self) -> str:
        """SIGSTOP and SIGCONT of the primary, without a failover."""
        server = self._primary
        frozen_s = self.plan.choice([0.05, 0.4, 0.7, 2.0])
        server.freeze()
        await asyncio.sleep(frozen_s)
        if server.is_frozen:
            server.thaw()
        return f"for {frozen_s} s"

    async def refuse(self) -> str:
        """Every command is refused with one word, or those that take memory are; or the library is gone."""
        server, plan = self._primary, self.plan
        how = plan.choice(["full", "full", "word", "library"])
        refused_s = plan.choice([0.05, 0.5, 1.5])
        if how == "library":
            server.execute(["FUNCTION", "FLUSH"])
            return "library gone"
        server.is_full = how == "full"
        server.refusal = plan.choice(REFUSALS) if how == "word" else ""
        await asyncio.sleep(refused_s)
        told, server.is_full, server.refusal = server.refusal[:10], False, ""
        return f"{how} {told} for {refused_s} s"

    async def take_keys(self) -> str:
        """Somebody deletes meta or the log, or what may be thrown away at any time is gone.

        Not the request records: nothing but the server's clock ends them before their day is over, and `turn_clock` turns that.
        """
        server = self._primary
        what = self.plan.choice(["meta", "log", "mortal"])
        meta = server.keys.values.get(META) or {}
        names = {
            "meta": [META],
            "log": [f"{{rg0}}:{meta.get('gen')}:log"],
            "mortal": [name for name in sorted(server.keys.ends) if ":q:" not in name],
        }[what]
        self.world.is_hot_lost |= what == "log"
        for name in names:
            server.execute(["DEL", name])
        return f"{what}, {len(names)} keys"

    async def damage_log(self) -> str:
        """Somebody adds to the log, or takes entries out of it."""
        server = self._primary
        meta = server.keys.values.get(META)
        if meta is None:
            return "there was no log"
        log, seq = f"{{rg0}}:{meta['gen']}:log", int(meta["seq"])
        how = self.plan.choice(["foreign entry", "entry gone"])
        self.world.is_hot_lost = True
        if how == "foreign entry":
            server.execute(["XADD", log, f"{seq + self.plan.choice([1, 3])}-0", "e", "x", "d", "y"])
        else:
            server.execute(["XDEL", log, f"{seq}-0"])
        return how

    async def fail_over(self) -> str:
        """The replica, some effects behind, is promoted; the old primary is dead, frozen, or goes on for those connected to it."""
        hot, plan, world = self.world.hot, self.plan, self.world
        old = hot.primary
        if self._is_failing_over or not old.is_up or hot.other.primary is not old:
            return "was not possible"
        self._is_failing_over = True
        hot.other.lag = lag = plan.choice([0, 0, 1, 2, 3, 5, 8, 15, 30])
        await asyncio.sleep(plan.uniform(0.05, 0.6))
        fate = plan.choice(["killed", "frozen", "alive", "alive"])
        if fate == "killed":
            old.kill()
        elif fate == "frozen":
            old.freeze()
        await asyncio.sleep(plan.choice([0, 0.05, 0.5]))
        pinned = world.network.cut(lambda one: one.place == old.place and plan.random() < 0.5)
        missed = hot.fail_over(plan.choice([2, 3, 3]) if fate != "killed" else 3)
        world.is_hot_lost |= missed > 0 or fate != "killed"
        world.has_zombie |= fate != "killed"
        awake_s = plan.choice([0, 0.3, 1.5, 4.0])
        await asyncio.sleep(plan.choice([0.1, 1.0]))
        if old.is_frozen:
            old.thaw()
        await asyncio.sleep(awake_s)
        hot.tell_sentinels()
        self._demote(old)
        self._is_failing_over = False
        return f"{missed} of {lag} effects missed, old primary {fate}, for {awake_s} s more, {pinned} connections cut"

    async def turn_clock(self) -> str:
        """The clocks of the servers are wrong by a little, or all of them by much, from now on."""
        plan, servers = self.plan, self.world.hot.servers
        self.world.is_clock_turned = True
        if plan.random() < 0.5:
            offset_ms, drift = plan.uniform(-1500, 1500), plan.choice([0, 0.01, -0.01])
            plan.choice(servers).set_clock(offset_ms, drift)
            return f"one by {offset_ms:.0f} ms, drift {drift}"
        # Where a gateway may not see time pass the shard's clock follows such a jump, and all that is remembered for a day is over.
        offset_ms = plan.choice(JUMPS_MS if self.is_time_watched else JUMPS_MS[:-1])
        self.world.jumped_ms += offset_ms
        for server in servers:
            server.set_clock(server.clock_offset_ms + offset_ms)
        return f"all by {offset_ms} ms"
