"""Playing an open loop from several processes at once, and what came of it together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from threading import Thread

from bench.failure import LoadFailure
from bench.open_loop import Job
from bench.process import bench_environment

END_SECONDS_MAX = 120.0


@dataclass
class Storm:
    """All clients together. Latencies are in tenths of a millisecond: how many took so long."""

    offered: int = 0
    unsent: int = 0
    lost: int = 0
    hung: int = 0
    bare: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    retry_after: Counter[int] = field(default_factory=Counter)
    refusals: Counter[int] = field(default_factory=Counter)
    #: By the second in which they were due.
    successes: dict[int, Counter[int]] = field(default_factory=dict)

    @property
    def sold(self) -> int:
        """Requests that were answered with a success."""
        return sum(count for status, count in self.statuses.items() if status < 300)

    @property
    def refused(self) -> int:
        """Requests that were told to come later."""
        return self.statuses[429] + self.statuses[503]

    @property
    def unexpected(self) -> dict[int, int]:
        """Answers that are neither."""
        return {status: count for status, count in self.statuses.items() if status >= 300 and status not in (429, 503)}

    def latencies(self) -> Counter[int]:
        """Of all answers: how many took so many tenths of a millisecond."""
        return sum(self.successes.values(), Counter(self.refusals))

    def p99_ms(self, first: int = 0, last: int | None = None) -> float | None:
        """Of the successes due from one second to another, both included; None where there were none."""
        counts: Counter[int] = Counter()
        for second, found in self.successes.items():
            if second >= first and (last is None or second <= last):
                counts += found
        return percentile_ms(counts, 0.99)


def percentile_ms(counts: Counter[int], share: float) -> float | None:
    """The smallest of the latencies that `share` of all do not exceed, in milliseconds; the end of its tenth."""
    left = counts.total() * share
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return (value + 1) / 10
    return None


def play(job: Job, processes: int) -> Storm:
    """The job was done by so many processes, each with its part of the rate and of nothing else.

    Raises:
        LoadFailure: one of them ended badly.
    """
    storm = Storm()
    told: list[tuple[int, str, str]] = []
    threads = [Thread(target=_run, args=(job, processes, at, told)) for at in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for code, out, err in told:
        if code != 0:
            raise LoadFailure(f"a client ended with code {code}:\n{err[-2000:]}")
        _add(storm, json.loads(out))
    if len(told) < processes:
        raise LoadFailure("a client did not end in time")
    return storm


def _run(job: Job, processes: int, at: int, told: list[tuple[int, str, str]]) -> None:
    own = asdict(job) | {"rate": job.rate / processes, "key": job.key and f"{job.key}{at}-"}
    seconds_max = job.seconds + job.patience_seconds + END_SECONDS_MAX
    ran = subprocess.run(
        [sys.executable, "-m", "bench.open_loop"],
        input=json.dumps(own),
        env=bench_environment(),
        capture_output=True,
        text=True,
        timeout=seconds_max,
        check=False,
    )
    told.append((ran.returncode, ran.stdout, ran.stderr))


def _add(storm: Storm, told: dict[str, object]) -> None:
    for name in ("offered", "unsent", "lost", "hung", "bare"):
        setattr(storm, name, getattr(storm, name) + told[name])
    storm.statuses += _counts(told["statuses"])
    storm.retry_after += _counts(told["retry_after"])
    storm.refusals += _counts(told["refusals"])
    storm.codes += Counter(told["codes"])  # type: ignore[arg-type]
    for second, found in told["successes"].items():  # type: ignore[attr-defined]
        storm.successes[int(second)] = storm.successes.get(int(second), Counter()) + _counts(found)


def _counts(told: object) -> Counter[int]:
    return Counter({int(value): count for value, count in told.items()})  # type: ignore[attr-defined]
