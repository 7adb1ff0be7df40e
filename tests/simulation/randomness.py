"""Everything that differs from run to run in a process, by a seed: the one place where it is replaced.

The modules of the gateway reach the system through `time`, `os`, `socket` and `random`. While a run lasts, each of these names in
each of its modules means a stand-in that asks the simulated world; everything else of the modules is as it was.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from gateway.domain import identifier
from tests.simulation.loop import PROCESS, SimulatedLoop
from tests.simulation.network import SimulatedSocket

#: The wall clock at the loop's time 0.
WALL_S = 1_790_000_000.0


class StandIn(ModuleType):
    """A module of the system, some of whose functions are ours."""

    def __init__(self, real: ModuleType, **ours: Any) -> None:
        super().__init__(real.__name__)
        self._real = real
        self.__dict__.update(ours)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@contextmanager
def seeded(seed: int | str, loop: SimulatedLoop) -> Iterator[None]:
    """Inside, no module of the gateway sees anything of the real machine's clocks, names and dice."""
    dice = random.Random(f"{seed}-process")
    before = random.getstate()
    random.seed(f"{seed}-jitter")
    replaced: list[tuple[ModuleType, str, ModuleType]] = []
    stand_ins = _stand_ins(dice, loop)
    for name, module in sorted(sys.modules.items()):
        if not name.startswith("gateway"):
            continue
        for word, stand_in in stand_ins.items():
            if getattr(module, word, None) is stand_in._real:
                replaced.append((module, word, stand_in._real))
                setattr(module, word, stand_in)
    forget = identifier.mint_random_part.__self__._forget  # type: ignore[attr-defined]
    forget()
    try:
        yield
    finally:
        for module, word, real in replaced:
            setattr(module, word, real)
        random.setstate(before)
        forget()


def _stand_ins(dice: random.Random, loop: SimulatedLoop) -> dict[str, StandIn]:
    def wall_s() -> float:
        process = PROCESS.get()
        return WALL_S + loop.time() + (process.wall_offset_s if process is not None else 0.0)

    def token_hex(size: int = 16) -> str:
        return dice.randbytes(size).hex()

    import secrets
    import uuid

    return {
        "time": StandIn(
            time,
            time=wall_s,
            time_ns=lambda: int(wall_s() * 1e9),
            monotonic=loop.time,
            perf_counter=loop.time,
        ),
        "os": StandIn(os, urandom=dice.randbytes, getpid=lambda: 1),
        "socket": StandIn(socket, socket=SimulatedSocket, gethostname=lambda: "simulated"),
        "secrets": StandIn(secrets, token_hex=token_hex, token_bytes=dice.randbytes),
        "uuid": StandIn(uuid, uuid4=lambda: uuid.UUID(bytes=dice.randbytes(16))),
    }
