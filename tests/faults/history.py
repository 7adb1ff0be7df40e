"""What the clients of a run saw: every call as plain data, written down by the one who made it.

Nothing here knows the gateway's code. `start_s` and `end_s` are of one monotonic clock, so that "before" is meant; the two
instants in ms are of the same host's wall clock, which is also that of Redis, to be held against the times of events.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

#: Operations that change something. `get` reads a reservation, `stock` reads a sku.
CHANGES: Final = frozenset({"reserve", "extend", "confirm", "fulfil", "release", "put", "adjust"})
ON_RESERVATIONS: Final = frozenset({"extend", "confirm", "fulfil", "release"})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `is_replayed` is what the gateway said of it."""

    status: int
    body: dict[str, Any]
    is_replayed: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the answer says that the operation succeeded."""
        return 200 <= self.status < 300

    @property
    def outcome(self) -> str:
        """`applied`, `not_applied` or `unknown`; of a problem without a word it is empty."""
        return "applied" if self.is_done else str(self.body.get("outcome", ""))


@dataclass(frozen=True, slots=True)
class Call:
    """One call, or one operation of a batch: those of one batch have one interval and one `batch`.

    `subject` is the reservation's id, or `sku/location` of a level, or the sku; of a reserve it is empty. `attempt` counts from 1
    the times that the same client sent the same thing. `ack` is what was asked for, empty = the operation's default. Without an
    `answer` it was lost.
    """

    client: str
    operation: str
    start_s: float
    end_s: float
    start_ms: int
    end_ms: int
    body: dict[str, Any] = field(default_factory=dict)
    answer: Answer | None = None
    key: str | None = None
    subject: str = ""
    attempt: int = 1
    batch: int | None = None
    ack: str = ""
    gateway: str = ""

    @property
    def told(self) -> dict[str, Any]:
        """What the answer said; nothing where none came."""
        return {} if self.answer is None else self.answer.body

    @property
    def is_done(self) -> bool:
        """The answer came, and says that it succeeded."""
        return self.answer is not None and self.answer.is_done

    @property
    def is_unknown(self) -> bool:
        """Nobody told the client whether it happened."""
        return self.answer is None or self.answer.outcome == "unknown"

    @property
    def is_refused(self) -> bool:
        """The answer says that nothing happened."""
        return self.answer is not None and self.answer.outcome == "not_applied"

    def __str__(self) -> str:
        what = "lost" if self.answer is None else f"{self.answer.status} {self.answer.body.get('code', '')}".strip()
        return f"{self.operation} {self.key or self.subject} of {self.client} ({what})"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the run was, as far as the laws depend on it.

    `is_hot_lost`: a fault took changes out of Redis that were not committed yet. `troubled_ms`: intervals in which something was
    broken or recovering, where a deadline may be served late. `healed_s`: after it everything was there again.
    """

    shop: str
    is_hot_lost: bool = False
    troubled_ms: tuple[tuple[int, int], ...] = ()
    healed_s: float | None = None
    recovery_seconds_max: float = 15.0
    #: What the shard's clock may differ from that of the clients, where somebody moves it.
    clock_off_ms: int = 0
    #: The sweeper looks four times a second, and two shared cores may be busy with something else.
    expiry_late_ms_max: int = 2000


class History:
    """The calls of one run, in the order in which they ended."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def record(self, call: Call) -> None:
        """The call is written down."""
        self.calls.append(call)

    def save(self, path: Path) -> None:
        """A line of JSON per call, for whoever looks into a run that failed."""
        path.write_text("".join(json.dumps(asdict(call)) + "\n" for call in self.calls), encoding="utf-8")

    @staticmethod
    def load(path: Path) -> History:
        """What `save` wrote."""
        history = History()
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)
            if fields["answer"] is not None:
                fields["answer"] = Answer(**fields["answer"])
            history.record(Call(**fields))
        return history


def position_of(body: dict[str, Any]) -> tuple[int, int] | None:
    """(epoch, seq) of an answer about a reservation or a level."""
    text = body.get("position")
    if not isinstance(text, str):
        return None
    _, epoch, seq = text.split("-")
    return int(epoch), int(seq)


def random_part(reservation_id: str) -> str:
    """The last part of a public id, by which the stores know the reservation; it may contain dashes."""
    return reservation_id.split("-", 3)[3]
