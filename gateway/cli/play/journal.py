"""The state file of a run: its plan, its base, and each outcome as it came, so that a run that was cut off
can go on.

What was under way when the process died is not in the file. It is played again under the same keys, and the
gateway answers what it has done already. A torn last line is such an invoice, too.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from gateway.cli.answer import RemoteFailed
from gateway.cli.play.level import LevelKey, LevelRead
from gateway.cli.play.outcome import Outcome
from gateway.cli.play.plan import Plan

VERSION = 1
#: The gateway forgets keys after retention.seconds (24 h): a run that goes on later could sell an invoice
#: twice.
RESUME_SECONDS_MAX = 12 * 3_600

#: What must be the same for the count to be one count.
_SAME = ("shop", "location", "abandon", "ttl_seconds", "stock", "seed")


class JournalUnusable(RemoteFailed):
    """The state file cannot be gone on from; the message says what to do."""


@dataclass(slots=True)
class Earlier:
    """What an earlier process of the same run left."""

    run: str
    base: dict[LevelKey, LevelRead]
    outcomes: list[Outcome] = field(default_factory=list)


class Journal:
    """The state file, open for appending."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    @classmethod
    def begin(cls, path: Path, plan: Plan, orders_digest: str, base: Mapping[LevelKey, LevelRead]) -> Journal:
        """The file begins with this run."""
        head = {
            "version": VERSION,
            "run": plan.run,
            "orders": orders_digest,
            "begun_seconds": int(time.time()),
            "plan": {name: getattr(plan, name) for name in _SAME},
            "base": [[*key, *asdict(level).values()] for key, level in base.items()],
        }
        journal = cls(path.open("wb"))
        journal._write(head)
        return journal

    @classmethod
    def resume(cls, path: Path) -> Journal:
        """The file goes on after its last whole line."""
        content = path.read_bytes()
        stream = path.open("r+b")
        stream.truncate(content.rfind(b"\n") + 1)
        stream.seek(0, 2)
        return cls(stream)

    def add(self, outcome: Outcome) -> None:
        """The outcome survives this process."""
        told = asdict(outcome)
        # Latencies belong to the process that measured them, and its clock to its boot.
        del told["timings"], told["deadline_earliest"], told["deadline_latest"]
        self._write(told)

    def close(self) -> None:
        """The file is complete so far."""
        self._stream.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._stream.write(orjson.dumps(line) + b"\n")
        self._stream.flush()


def read_journal(path: Path, plan: Plan, orders_digest: str) -> Earlier | None:
    """What an earlier process left in the file; None where there is none or it was cut off before it began to
    play.

    Raises:
        JournalUnusable: the file is of another run, of other orders, too old, or no state file at all.
    """
    if not path.exists():
        return None
    lines = path.read_bytes().split(b"\n")[:-1]
    if not lines:
        return None
    try:
        head, *told = (orjson.loads(line) for line in lines)
        if head["version"] != VERSION:
            raise JournalUnusable(f"{path} was written by another version; remove it")
        _refuse_other(path, head, plan, orders_digest)
        base = {(str(row[0]), str(row[1])): LevelRead(*row[2:]) for row in head["base"]}
        outcomes = [_outcome(line) for line in told]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError) as exc:
        raise JournalUnusable(f"{path} is not a state file of this command; choose another --state") from exc
    return Earlier(str(head["run"]), base, outcomes)


def _refuse_other(path: Path, head: Mapping[str, Any], plan: Plan, orders_digest: str) -> None:
    if head["orders"] != orders_digest:
        raise JournalUnusable(f"{path} belongs to a run of other orders; choose another --state")
    other = [name for name in _SAME if head["plan"][name] != getattr(plan, name)]
    if other:
        words = ", ".join(f"{name} {head['plan'][name]}, not {getattr(plan, name)}" for name in other)
        raise JournalUnusable(f"{path} belongs to a run with {words}; repeat that, or choose another --state")
    if time.time() - head["begun_seconds"] > RESUME_SECONDS_MAX:
        raise JournalUnusable(
            f"{path} is too old to go on: the gateway may have forgotten its keys; choose another --state"
        )


def _outcome(told: dict[str, Any]) -> Outcome:
    for name in ("sold", "adjusted"):
        told[name] = [tuple(move) for move in told[name]]
    return Outcome(**told)


def digest_of(path: Path) -> str:
    """What tells one file of orders from another."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
