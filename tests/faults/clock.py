"""The wall clock of one process, moved while it runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Final

from gateway.embedded import PrivatePostgres
from gateway.embedded.child import start_child

SOURCE: Final = Path(__file__).with_name("clock_shim.c")
COMPILER: Final = shutil.which("cc")
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
#: How far a clock is set: a second, an hour, a year.
JUMPS_MS: Final = (1_000, -1_000, HOUR_MS, -HOUR_MS, 365 * DAY_MS)


class Clock:
    """What a process that is started with `environment` takes for the time of day."""

    def __init__(self, folder: Path, name: str) -> None:
        """It shows what the host's shows. The folder can be entered by every user: PostgreSQL becomes another one."""
        self._shim = folder / "clock_shim.so"
        if not self._shim.exists():
            assert COMPILER is not None, "there is no C compiler"
            flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Werror"]
            subprocess.run([COMPILER, *flags, "-o", self._shim, SOURCE], check=True)
        self._file = folder / f"clock-{name}"
        self.set(0)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process that is to have this clock."""
        return {"LD_PRELOAD": str(self._shim), "CLOCK_SHIFT_FILE": str(self._file)}

    def set(self, shift_ms: int) -> None:
        """From now on it is ahead of the host's clock by so much, or behind it. In place: the file is mapped."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(shift_ms.to_bytes(8, "little", signed=True))

    @contextmanager
    def given(self) -> Iterator[None]:
        """What this process starts inside has the clock."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


class ClockedPostgres(PrivatePostgres):
    """A PostgreSQL with a clock of its own."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__(folder, "wheel", fsync=False)
        self._clock = clock

    def _start_tool(self, name: str, *options: str) -> Popen[bytes]:
        return start_child(
            [str(self._tool(name)), *options],
            folder=self.folder,
            log=self.log,
            death_signal=signal.SIGINT,
            owner=self._owner,
            environment={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"} | self._clock.environment,
        )
