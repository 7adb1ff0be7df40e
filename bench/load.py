"""Playing requests against a server: by wrk or by our own closed loop, one of them for all rows of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

from bench.closed_loop import GRACE_SECONDS_MAX, Job
from bench.failure import LoadFailure
from bench.process import bench_environment

CONNECTIONS = 64
COUNT_SECONDS_MAX = 600.0
LINES_MAX = 15
SCRIPTS = Path(__file__).with_name("wrk")
Plan = Literal["one", "life"]


@dataclass(frozen=True)
class Request:
    """The request that is sent again and again; without a body an empty one.

    With `skus` the body names one of so many: a number below it stands where the body has `@@`, another one each time.
    """

    port: int
    method: str
    path: str
    body: str = ""
    skus: int = 0


@dataclass(frozen=True)
class Outcome:
    """What one round was answered.

    `answers` are complete ones of any status, `refusals` those of status 400 and over, `lost` requests that
    got no answer or none in time, `lives` reservations that reached their end (plan "life"). `statuses` is
    None where the generator does not tell statuses apart.
    """

    answers: int
    refusals: int
    lives: int
    lost: int
    seconds: float
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int] | None = None


class Generator(Protocol):
    """A load generator."""

    name: str

    def in_flight_max(self, connections: int = CONNECTIONS) -> int:
        """So many requests may have been applied at its end without being counted."""
        ...

    def play(self, request: Request, seconds: float, plan: Plan = "one", connections: int = CONNECTIONS) -> Outcome:
        """The request was sent for so many seconds over so many connections.

        Raises:
            LoadFailure: the generator ended badly.
        """
        ...


class Wrk:
    """wrk with one thread: written in C, it takes the least from the processors it shares with the server."""

    name = "wrk"

    def in_flight_max(self, connections: int = CONNECTIONS) -> int:
        """See `Generator`. At its end wrk closes its connections over whatever is on its way."""
        return connections

    def play(self, request: Request, seconds: float, plan: Plan = "one", connections: int = CONNECTIONS) -> Outcome:
        """See `Generator`. wrk takes whole seconds, at least one."""
        script = SCRIPTS / f"{'wide' if request.skus else plan}.lua"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
        command += [f"http://127.0.0.1:{request.port}/", "--", request.method, request.path, request.body]
        command += [str(request.skus)] if request.skus else []
        told = _run(command, "", seconds + GRACE_SECONDS_MAX)
        results = [line.removeprefix("RESULT ") for line in told.splitlines() if line.startswith("RESULT ")]
        if len(results) != 1:
            raise LoadFailure(f"wrk told no result:\n{told}")
        return Outcome(**json.loads(results[0]))


class ClosedLoop:
    """Our own generator, in a process of its own. A round ends when the last answer is there."""

    name = "own closed loop"

    def in_flight_max(self, connections: int = CONNECTIONS) -> int:
        """See `Generator`."""
        return 0

    def play(self, request: Request, seconds: float, plan: Plan = "one", connections: int = CONNECTIONS) -> Outcome:
        """See `Generator`."""
        job = Job(connections=connections, seconds=seconds, plan=plan, **asdict(request))
        return self._do(job, seconds + 2 * GRACE_SECONDS_MAX)

    def count(self, request: Request, count: int, connections: int = CONNECTIONS) -> dict[str, int]:
        """Exactly `count` requests were answered; returns how many with which status.

        Raises:
            LoadFailure: some got no answer.
        """
        job = Job(connections=connections, count=count, **asdict(request))
        outcome = self._do(job, COUNT_SECONDS_MAX)
        if outcome.lost or outcome.answers != count or outcome.statuses is None:
            raise LoadFailure(f"of {count} requests {outcome.answers} were answered, {outcome.lost} connections lost")
        return outcome.statuses

    def _do(self, job: Job, seconds_max: float) -> Outcome:
        command = [sys.executable, "-m", "bench.closed_loop"]
        return Outcome(**json.loads(_run(command, json.dumps(asdict(job)), seconds_max)))


def _run(command: list[str], given: str, seconds_max: float) -> str:
    """What the command printed. A Ctrl-C ends it: `subprocess.run` kills what it does not wait for."""
    try:
        ran = subprocess.run(
            command,
            input=given,
            env=bench_environment(),
            capture_output=True,
            text=True,
            timeout=seconds_max,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise LoadFailure(f"{command[0]} did not end in {seconds_max:.0f} s") from exc
    if ran.returncode != 0:
        lines = "\n".join((ran.stdout + ran.stderr).splitlines()[-LINES_MAX:])
        raise LoadFailure(f"{command[0]} ended with code {ran.returncode}:\n{lines}")
    return ran.stdout
