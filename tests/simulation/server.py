"""A Redis: one node with a clock of its own, which executes commands, tells its replicas, and can be frozen, killed and promoted.

What a command wrote is one effect, whole, as servers log and replicate scripts. A replica is some effects behind; a restart brings
back as many as the append-only file had.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from tests.simulation import commands
from tests.simulation.commands import COMMANDS, OK, Refusal, Status
from tests.simulation.keyspace import Keyspace
from tests.simulation.library import Library, library_of
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Connection
from tests.simulation.randomness import WALL_S
from tests.simulation.session import RedisSession

Write = tuple[str, list[str]]
Observer = Callable[["RedisServer", Connection | None, list[str], Any], None]

OOM: Final = "OOM command not allowed when used memory > 'maxmemory'."
READONLY: Final = "READONLY You can't write against a read only replica."
TOTALS_EVERY: Final = "CHECKPOINT_EVERY = 1000"
LOADING: Final = "LOADING Redis is loading the dataset in memory"


class RedisServer:
    """One node. `effects` are those since `_base`, in order."""

    def __init__(self, place: tuple[str, int], loop: SimulatedLoop, dice: random.Random, observe: Observer) -> None:
        self.place = place
        self.loop = loop
        self.is_up = True
        self.is_loading = False
        self.is_frozen = False
        self.is_full = False
        self.refusal = ""  # what every command is answered with, such as MISCONF
        self.clock_offset_ms = 0.0
        self.drift = 0.0  # of a second per second, from `_drifts_since_s` on
        self.sessions: list[RedisSession] = []
        self.totals_every: int | None = None  # seqs between two events that tell totals, if not as the library says
        self.lag = 0  # effects this replica stays behind
        self.effects: list[list[Write]] = []
        self.keys = Keyspace()
        self.libraries: dict[str, Library] = {}
        self.primary: RedisServer | None = None
        self.replicas: list[RedisServer] = []
        self._drifts_since_s = 0.0
        self._applied = 0
        self._base: tuple[Keyspace, dict[str, Library]] = (Keyspace(), {})
        self._writes: list[Write] = []
        self._dice = dice
        self._observe = observe
        self.lineage = self._run_id = self._new_lineage()
        self._own: dict[str, Callable[[list[str]], Any]] = {
            "PING": lambda _: Status("PONG"),
            "AUTH": lambda _: OK,
            "SELECT": lambda _: OK,
            "INFO": self._info,
            "TIME": self._time,
            "FUNCTION": self._function,
            "FCALL": self._fcall,
        }

    def _new_lineage(self) -> str:
        return self._dice.randbytes(20).hex()

    # -- time ------------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        """What its clock says."""
        drifted_s = (self.loop.time() - self._drifts_since_s) * self.drift
        return int((WALL_S + self.loop.time() + drifted_s) * 1_000_000 + self.clock_offset_ms * 1000)

    def set_clock(self, offset_ms: float, drift: float = 0.0) -> None:
        """From now on its clock is so far from the true one, and runs away from it."""
        self.clock_offset_ms, self.drift, self._drifts_since_s = offset_ms, drift, self.loop.time()

    # -- connections -----------------------------------------------------------------------------------------

    def accept(self, connection: Connection) -> RedisSession:
        """Somebody has connected."""
        session = RedisSession(self, connection)
        self.sessions.append(session)
        return session

    # -- execution -------------------------------------------------------------------------------------------

    def execute(self, arguments: list[str], connection: Connection | None = None) -> Any:
        """The reply; a refusal is a reply of its own."""
        try:
            reply = self._reply(arguments[0].upper(), arguments[1:])
        except Refusal as problem:
            reply = problem
        self._end_command()
        self._observe(self, connection, arguments, reply)
        return reply

    def _reply(self, name: str, given: list[str]) -> Any:
        if self.is_loading and name not in {"INFO", "PING", "AUTH", "SELECT"}:
            raise Refusal(LOADING)
        if self.refusal and name not in {"INFO", "PING", "AUTH", "SELECT"}:
            raise Refusal(self.refusal)
        self.keys.now_ms = self.now_us() // 1000
        own = self._own.get(name)
        if own is not None:
            return own(given)
        return self._plain(name, given, is_checked=True)

    def _plain(self, name: str, given: list[str], *, is_checked: bool) -> Any:
        known = COMMANDS.get(name)
        if known is None:
            told = "".join(f"'{word[:128]}' " for word in given)
            raise Refusal(f"ERR unknown command '{name}', with args beginning with: {told}")
        _, _, is_writing, is_growing = known
        if is_writing and self.primary is not None:
            raise Refusal(READONLY)
        if is_checked and is_growing and self.is_full:
            raise Refusal(OOM)
        reply = commands.run(self.keys, name, given)
        if is_writing:
            self._writes.append(self._absolute(name, given, reply))
        return reply

    def _absolute(self, name: str, given: list[str], reply: Any) -> Write:
        """The write as another node at another time can repeat it."""
        if name == "PEXPIRE":
            return "PEXPIREAT", [given[0], str(int(given[1]) + self.keys.now_ms)]
        if name == "XADD" and "*" in given and isinstance(reply, str):
            at = given.index("*")
            return name, [*given[:at], reply, *given[at + 1 :]]
        if name == "SET" and len(given) > 2:
            if reply is None:
                return "EXISTS", [given[0]]
            ends_ms = self.keys.ends.get(given[0])
            return name, [*given[:2], *(["PXAT", str(ends_ms)] if ends_ms is not None else [])]
        return name, given

    def _end_command(self) -> None:
        if self.primary is not None:
            self._writes.clear()
            return
        expired, self.keys.expired = self.keys.expired, []
        writes: list[Write] = [("DEL", [name]) for name in expired] + self._writes
        if writes:
            self._writes = []
            self.effects.append(writes)
            for replica in self.replicas:
                replica.follow()
            for session in self.sessions:
                session.wake()

    def _time(self, _: list[str]) -> Any:
        now_us = self.now_us()
        return [str(now_us // 1_000_000), str(now_us % 1_000_000)]

    def _info(self, _: list[str]) -> Any:
        told = {
            "redis_version": "7.2.4",
            "run_id": self._run_id,
            "evicted_keys": 0,
            "role": "master" if self.primary is None else "slave",
            "master_replid": self.lineage,
            "connected_slaves": len(self.replicas),
            "maxmemory_policy": "noeviction",
            "aof_enabled": 1,
            "loading": int(self.is_loading),
        }
        return "".join(f"{name}:{value}\r\n" for name, value in told.items())

    # -- scripts ---------------------------------------------------------------------------------------------

    def _function(self, given: list[str]) -> Any:
        word = given[0].upper()
        if word == "LOAD":
            if self.primary is not None:
                raise Refusal(READONLY)
            if self.is_full:
                raise Refusal(OOM)
            given = [word, self._often(given[1])]
            library = library_of(given[1])
            if library.name in self.libraries:
                raise Refusal(f"ERR Library '{library.name}' already exists")
            self.libraries[library.name] = library
            self._writes.append(("FUNCTION", given))
            return library.name
        if word == "LIST":
            return [["library_name", name] for name in self.libraries if name == given[2]]
        if word == "FLUSH":
            self.libraries.clear()
            self._writes.append(("FUNCTION", given))
            return OK
        raise Refusal(f"ERR unknown subcommand '{given[0]}'. Try FUNCTION HELP.")

    def _often(self, text: str) -> str:
        """The library, which tells totals so often that a run of seconds has some of these events, too."""
        if self.totals_every is None:
            return text
        assert text.count(TOTALS_EVERY) == 1
        return text.replace(TOTALS_EVERY, f"CHECKPOINT_EVERY = {self.totals_every}")

    def _fcall(self, given: list[str]) -> Any:
        library = next((one for one in self.libraries.values() if given[0] in one.flags), None)
        if library is None:
            raise Refusal("ERR Function not found")
        try:
            count = commands.integer(given[1])
        except Refusal:
            raise Refusal("ERR Bad number of keys provided") from None
        if count > len(given) - 2:
            raise Refusal("ERR Number of keys can't be greater than number of args")
        if count < 0:
            raise Refusal("ERR Number of keys can't be negative")
        if self.primary is not None:
            raise Refusal(READONLY)
        if self.is_full and "allow-oom" not in library.flags[given[0]]:
            raise Refusal(OOM)
        return library.run(given[0], given[2 : 2 + count], given[2 + count :], self._called)

    def _called(self, name: str, given: list[str]) -> Any:
        """What a script's command does."""
        if name == "TIME":
            return self._time(given)
        return self._plain(name, given, is_checked=False)

    # -- replication, and what a server survives ------------------------------------------------------------

    def follow(self) -> None:
        """As a replica: the primary's effects have come, but for those it stays behind."""
        primary = self.primary
        if primary is None or not self.is_up:
            return
        target = max(len(primary.effects) - self.lag, self._applied)
        self._apply(primary.effects[self._applied : target])
        self._applied = target

    def _apply(self, effects: list[list[Write]]) -> None:
        self.keys.now_ms, is_expiring = 0, self.keys.is_expiring
        self.keys.is_expiring = False
        for effect in effects:
            for name, given in effect:
                if name != "FUNCTION":
                    commands.run(self.keys, name, given)
                elif given[0].upper() == "FLUSH":
                    self.libraries.clear()
                else:
                    library = library_of(given[1])
                    self.libraries[library.name] = library
        self.keys.is_expiring = is_expiring

    def replicate(self, primary: RedisServer) -> None:
        """It is a replica of that one, with everything that one has."""
        self._leave()
        self.primary = primary
        primary.replicas.append(self)
        self.keys, self.libraries = primary.keys.copy(), dict(primary.libraries)
        self.keys.is_expiring = False
        self.lineage, self._applied = primary.lineage, len(primary.effects)
        self.effects, self.replicas, self.lag = [], [], 0

    def promote(self) -> int:
        """It is a primary with what it has, and a history of its own. How many effects it never got."""
        assert self.primary is not None
        missed = len(self.primary.effects) - self._applied
        self._leave()
        self._begin_history()
        return missed

    def _leave(self) -> None:
        if self.primary is not None:
            self.primary.replicas.remove(self)
        self.primary = None
        self.keys.is_expiring = True

    def _begin_history(self) -> None:
        self.lineage = self._new_lineage()
        self._base = (self.keys.copy(), dict(self.libraries))
        self.effects, self.lag, self._applied = [], 0, 0

    def kill(self) -> None:
        """As by SIGKILL: its connections are reset."""
        self.is_up = self.is_frozen = False
        for session in list(self.sessions):
            session.connection.reset()
        self.sessions.clear()

    def start(self, lost: int | None = 0) -> int:
        """It is back, with all but the last `lost` effects; None: with nothing. How many are missing."""
        assert not self.is_up
        self._run_id = self._new_lineage()
        if self.primary is not None:
            self.replicate(self.primary)
            self.is_up = True
            return 0
        count = len(self.effects)
        kept = 0 if lost is None else max(count - lost, 0)
        self.keys, self.libraries = (Keyspace(), {}) if lost is None else (self._base[0].copy(), dict(self._base[1]))
        missing = count + len(self._base[0].values) if lost is None else count - kept
        self._apply(self.effects[:kept])
        self._begin_history()
        self.is_up = True
        for replica in list(self.replicas):
            replica.replicate(self)
        return missing

    def freeze(self) -> None:
        """As by SIGSTOP: what comes in waits."""
        self.is_frozen = True

    def thaw(self) -> None:
        """As by SIGCONT."""
        self.is_frozen = False
        for session in list(self.sessions):
            session.resume()
