"""The laws of every single answer: K10, K12, K16, K17."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tests.acceptance.answers import CODES
from tests.faults.account import Account, Violation, available
from tests.faults.history import CHANGES, Call, Circumstances, History, position_of, random_part
from tests.faults.stores import Held, Place

#: Instants of events and of calls are cut to whole ms, each at its own place.
SLACK_MS: Final = 2
#: What a refusal says the reservation is.
STATE_OF_CODE: Final = {
    "reservation_confirmed": "confirmed",
    "reservation_released": "released",
    "reservation_fulfilled": "fulfilled",
    "reservation_expired": "expired",
}


def order_is_real(account: Account, history: History, circumstances: Circumstances) -> Iterator[Violation]:
    """K10: who began after another had ended has the later position, and nobody reads what is older than was read before.

    What was lost with Redis has no place in the order: a replaced primary goes on answering until it learns of it.
    """
    made: list[tuple[Call, tuple[int, int]]] = []
    seen: dict[str, list[tuple[Call, tuple[int, int]]]] = defaultdict(list)
    for call in history.calls:
        position = position_of(call.told) if call.is_done else None
        if position is None or call.answer is None:
            continue
        is_new = call.operation in {"reserve", "adjust", "put"} and call.told.get("applied", True)
        is_new &= call.attempt == 1 and not call.answer.is_replayed
        if is_new and not (circumstances.is_hot_lost and not _is_kept(account, call, position)):
            made.append((call, position))
        if call.told.get("durable") is True or not circumstances.is_hot_lost:
            seen[str(call.told.get("id", call.subject))].append((call, position))
    for calls in (made, *seen.values()):
        yield from _overtaken(calls)


def _is_kept(account: Account, call: Call, position: tuple[int, int]) -> bool:
    """Whether the log has this very change there, not that of another history under the same number."""
    event = account.at.get(position)
    if event is None:
        return False
    if call.operation == "reserve":
        return event.reservation is not None and event.reservation.id == random_part(call.told["id"])
    if call.operation == "adjust":
        return event.reference == call.body["reference"]
    return any(source[2:] == (call.body["source"], call.body["sequence"]) for source in event.sources)


def _overtaken(calls: list[tuple[Call, tuple[int, int]]]) -> Iterator[Violation]:
    """Each call that stands before one that had ended when it began."""
    calls.sort(key=lambda one: one[0].start_s)
    ended: list[tuple[float, int, tuple[int, int]]] = []
    newest: tuple[tuple[int, int], int] = ((0, 0), -1)
    for at, (call, position) in enumerate(calls):
        while ended and ended[0][0] < call.start_s:
            _, index, before = heapq.heappop(ended)
            newest = max(newest, (before, index))
        if position < newest[0]:
            detail = f"is at {position}, {calls[newest[1]][0]} ended before it began and is at {newest[0]}"
            yield Violation("K10", str(call), detail)
        heapq.heappush(ended, (call.end_s, at, position))


def answers_are_true(account: Account, history: History, circumstances: Circumstances) -> Iterator[Violation]:
    """K12: fed with the log, a reference model gives every answer: reservations, levels, shortages and states."""
    witness = _Witness(account, circumstances)
    for call in history.calls:
        if call.answer is None:
            continue
        if call.is_done:
            about = _reservation(witness, call) if "lines" in call.told else _levels(witness, call)
            yield from (Violation("K12", str(call), detail) for detail in about)
        elif not circumstances.is_hot_lost:
            yield from (Violation("K12", str(call), detail) for detail in _refusal(witness, call))


class _Witness:
    """The log as the model that says what was true when."""

    def __init__(self, account: Account, circumstances: Circumstances) -> None:
        self.account = account
        self.circumstances = circumstances
        self.slack_ms = SLACK_MS + circumstances.clock_off_ms
        self._instants = {
            place: [event.row.at_ms for event, _ in changes] for place, changes in account.of_place.items()
        }

    def availables(self, place: Place, start_ms: int, end_ms: int) -> set[int]:
        """Everything that was available of the level at some moment of the interval."""
        changes, instants = self.account.of_place.get(place, []), self._instants.get(place, [])
        first = max(bisect_left(instants, start_ms - self.slack_ms) - 1, 0)
        last = bisect_right(instants, end_ms + self.slack_ms)
        return {available(change) for _, change in changes[first:last]}

    def was(self, id: str, state: str, end_ms: int) -> bool:
        """Whether the reservation was in the state at the instant or before."""
        return any(
            (held.state == state and event.row.at_ms <= end_ms + self.slack_ms)
            or (state == "expired" and held.state == "held" and held.deadline_ms <= end_ms + self.slack_ms)
            for event, held in self.account.of_reservation.get(id, [])
        )


def _reservation(witness: _Witness, call: Call) -> Iterator[str]:
    told, account = call.told, witness.account
    position = position_of(told)
    event = None if position is None else account.at.get(position)
    held = None if event is None else event.reservation
    if held is None or held.id != random_part(told["id"]):
        # Of changes K4 says so; a read may have seen what was lost with Redis, and then not as durable.
        if call.operation == "get" and (told["durable"] or not witness.circumstances.is_hot_lost):
            yield f"reads {told['state']} at {position}, where the log has nothing of it"
        return
    for name, answered, stored in (
        ("id", told["id"], held.public_id()),
        ("tier", told["tier"], held.tier),
        ("reference", told["reference"] or "", held.reference),
        ("lines", _lines(told), sorted((sku, location, quantity) for sku, location, quantity, _ in held.lines)),
    ):
        if answered != stored:
            yield f"{name} is {answered}, in the log {stored}"
    yield from _state(call, held, witness.slack_ms)


def _lines(told: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    return sorted((line["sku"], line["location"], line["quantity"]) for line in told["lines"])


def _state(call: Call, held: Held, slack_ms: int) -> Iterator[str]:
    state = call.told["state"]
    if state == "held" == held.state:
        if instant_ms(call.told["expires_at"]) != held.deadline_ms:
            yield f"expires at {call.told['expires_at']}, in the log at {held.deadline_ms}"
        elif held.deadline_ms < call.start_ms - slack_ms:
            yield f"reads held {call.start_ms - held.deadline_ms} ms after its deadline"
    elif state == "expired" and held.state == "held":
        if held.deadline_ms > call.end_ms + slack_ms:
            yield f"reads expired {held.deadline_ms - call.end_ms} ms before its deadline"
    elif state != held.state:
        yield f"reads {state}, in the log it is {held.state}"


def _levels(witness: _Witness, call: Call) -> Iterator[str]:
    sku, _, location = call.subject.partition("/")
    found = call.told.get("locations", [call.told])
    for level in found:
        place = (witness.circumstances.shop, sku, level.get("location", location))
        position = position_of(level)
        event = None if position is None else witness.account.at.get(position)
        change = next((one for one in event.changes if one.place == place), None) if event is not None else None
        if change is None:
            if not witness.circumstances.is_hot_lost:
                yield f"{'/'.join(place)} is at {position}, where the log has nothing of it"
            continue
        deducted = sum(level["deductions"].values())
        counters = (level["on_hand"], level["held"], level["committed"], deducted, level["safety_stock"])
        if counters != change.after or level["available"] != available(change):
            yield f"{'/'.join(place)} is {counters}, in the log {change.after}"


def _refusal(witness: _Witness, call: Call) -> Iterator[str]:
    for shortage in call.told.get("shortages", []):
        if shortage["location"] is None:
            continue  # a total over several levels, each read in the same instant: no single level says it
        place = (witness.circumstances.shop, shortage["sku"], shortage["location"])
        true = witness.availables(place, call.start_ms, call.end_ms)
        if shortage["available"] not in true:
            yield f"{'/'.join(place)} had {shortage['available']}, in the log {sorted(true)} in that time"
        if shortage["available"] >= shortage["requested"]:
            yield f"{'/'.join(place)} had {shortage['available']} and was short of {shortage['requested']}"
    state = STATE_OF_CODE.get(call.told.get("code", ""))
    if state is not None and not witness.was(random_part(call.subject), state, call.end_ms):
        yield f"says {call.told['code']}, in the log it was never {state} until then"


def recovers_in_time(history: History, circumstances: Circumstances) -> Iterator[Violation]:
    """K16: soon after everything is back, a change succeeds."""
    healed_s, seconds_max = circumstances.healed_s, circumstances.recovery_seconds_max
    if healed_s is None:
        return
    done = [
        call.end_s for call in history.calls if call.is_done and call.operation in CHANGES and call.end_s > healed_s
    ]
    if not done:
        yield Violation("K16", "recovery", "no change ever succeeded after everything was back")
    elif min(done) - healed_s > seconds_max:
        yield Violation(
            "K16", "recovery", f"the first change succeeded {min(done) - healed_s:.1f} s after everything was back"
        )


def problems_are_honest(history: History) -> Iterator[Violation]:
    """K17: every answer that is no success has a code of the contract, its status, and an outcome that it may have."""
    for call in history.calls:
        if call.answer is None or call.answer.is_done:
            continue
        code, status, outcome = call.told.get("code"), call.answer.status, call.answer.outcome
        if code not in CODES:
            yield Violation("K17", str(call), f"{code} is not a code of the contract")
        elif CODES[code][0] != status or outcome not in CODES[code][1]:
            yield Violation("K17", str(call), f"{code} with status {status} and outcome {outcome or 'missing'}")
        elif code == "internal_error":
            yield Violation("K17", str(call), "nobody expected this error")


def instant_ms(text: str) -> int:
    """An instant of the contract in ms since 1970."""
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
