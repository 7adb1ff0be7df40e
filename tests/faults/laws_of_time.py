"""The law of how long a hold lasts, by the clock of the clients, which nobody sets: K9 without the servers' word for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tests.faults.account import Violation
from tests.faults.history import Call, Circumstances, History
from tests.faults.laws_of_log import is_healthy

#: Instants are cut to whole ms, and a clock that is kept right by small steps goes a little faster or slower.
SLACK_MS: Final = 20
#: A hold that asked for no time has its tier's, and no tier but that of the scenarios, which always ask, gives less.
TTL_MS_MIN: Final = 60_000


def lasts_as_promised(history: History, circumstances: Circumstances) -> Iterator[Violation]:
    """K9: no hold is told as expired before its time is over, and in good times none is told as held long after.

    Only of holds that nobody tried to extend, which may also shorten.
    """
    made, seen, moved = _sorted(history)
    slack_ms = SLACK_MS + circumstances.clock_off_ms
    for calls in made.values():
        done = [call for call in calls if call.is_done]
        if not done or (id := str(done[0].told["id"])) in moved:
            continue
        ttl_ms = int(done[0].body.get("ttl_seconds", 0)) * 1000
        earliest_ms = min(call.start_ms for call in calls) + (ttl_ms or TTL_MS_MIN)
        latest_ms = min(call.end_ms for call in done) + ttl_ms
        for call in seen[id]:
            if _says_expired(call) and call.end_ms < earliest_ms - slack_ms:
                yield Violation("K9", str(call), f"expired at least {earliest_ms - call.end_ms} ms before its time")
            elif (
                ttl_ms
                and call.is_done
                and (call.operation, call.told["state"]) == ("get", "held")
                and call.start_ms > latest_ms + slack_ms
                and is_healthy(latest_ms, call.start_ms, circumstances)
            ):
                yield Violation("K9", str(call), f"held at least {call.start_ms - latest_ms} ms after its time")


def _sorted(history: History) -> tuple[dict[str, list[Call]], dict[str, list[Call]], set[str]]:
    """The calls that made each hold, by its reference; those about each hold, and who was extended, by its id."""
    made: dict[str, list[Call]] = defaultdict(list)
    seen: dict[str, list[Call]] = defaultdict(list)
    moved: set[str] = set()
    for call in history.calls:
        if call.operation == "reserve":
            made[str(call.body["reference"])].append(call)
        elif call.operation == "extend":
            moved.add(call.subject)
        seen[str(call.told.get("id", call.subject))].append(call)
    return made, seen, moved


def _says_expired(call: Call) -> bool:
    return call.told.get("state") == "expired" or call.told.get("code") == "reservation_expired"
