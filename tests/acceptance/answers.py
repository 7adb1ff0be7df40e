"""What every answer must obey, whatever was asked: the shape of problems, the arithmetic of levels, the states."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
POSITION = re.compile(r"\d+-\d+-\d+")
STATES = {"held", "confirmed", "fulfilled", "released", "expired"}
RESERVATION_FIELDS = {"id", "shop", "state", "tier", "reference", "customer", "channel", "lines"} | {
    *("created_at", "expires_at", "confirmed_at", "ended_at", "position", "durable")
}
LEVEL_FIELDS = {"location", "on_hand", "held", "committed", "deductions", "safety_stock", "available"} | {
    *("sequences", "version", "position", "updated_at")
}

# code -> (status, the outcomes that it may carry)
NOTHING = {"not_applied"}
MAYBE = {"not_applied", "unknown"}
CODES: dict[str, tuple[int, set[str]]] = {
    "malformed_json": (400, NOTHING),
    "idempotency_key_required": (400, NOTHING),
    "unauthenticated": (401, NOTHING),
    "forbidden": (403, NOTHING),
    "reservation_not_found": (404, NOTHING),
    "sku_not_found": (404, NOTHING),
    "not_found": (404, NOTHING),
    "method_not_allowed": (405, NOTHING),
    "body_too_large": (413, NOTHING),
    "unsupported_media_type": (415, NOTHING),
    "request_timeout": (408, MAYBE),
    "headers_too_large": (431, NOTHING),
    "out_of_stock": (409, NOTHING),
    "reservation_confirmed": (409, NOTHING),
    "reservation_expired": (409, NOTHING),
    "reservation_released": (409, NOTHING),
    "reservation_fulfilled": (409, NOTHING),
    "reservation_not_confirmed": (409, NOTHING),
    "extension_limit": (409, NOTHING),
    "stale_sequence": (409, NOTHING),
    "insufficient_on_hand": (409, NOTHING),
    "version_conflict": (409, NOTHING),
    "reservation_lost": (410, NOTHING),
    "invalid_request": (422, NOTHING),
    "unknown_sku": (422, NOTHING),
    "idempotency_key_reused": (422, NOTHING),
    "rate_limited": (429, NOTHING),
    "internal_error": (500, MAYBE),
    "overloaded": (503, NOTHING),
    "hot_store_unavailable": (503, MAYBE),
    "shard_recovering": (503, MAYBE),
    "shard_halted": (503, MAYBE),
    "durability_unknown": (503, {"unknown"}),
    "durable_store_unavailable": (503, MAYBE),
}


@dataclass(frozen=True)
class Answer:
    """One answer; `body` is parsed JSON, or the text of anything else."""

    status: int
    headers: Mapping[str, str]
    body: Any
    text: str

    @property
    def code(self) -> str | None:
        """The code of a problem, None of anything else."""
        return self.body.get("code") if self.status >= 400 and isinstance(self.body, dict) else None

    @property
    def outcome(self) -> tuple[int, str | None]:
        """Status and code: what most tests compare."""
        return self.status, self.code

    @property
    def is_replayed(self) -> bool:
        """The gateway says that this was a repetition."""
        return self.headers.get("Idempotent-Replayed") == "true"

    @property
    def fields(self) -> list[str]:
        """The names that an `invalid_request` complains about, in order."""
        return [error["field"] for error in self.body["errors"]]


def instant_ms(text: str) -> int:
    """An instant of the contract in ms since 1970; anything but RFC 3339 UTC with milliseconds fails."""
    assert INSTANT.fullmatch(text), f"{text!r} is not an instant in UTC with milliseconds"
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def check_problem(problem: Any, status: int) -> None:
    """The body is an RFC 9457 problem of the contract with a code that belongs to its status."""
    assert isinstance(problem, dict), problem
    assert {"type", "title", "status", "detail", "code", "outcome", "request_id"} <= set(problem), problem
    code = problem["code"]
    assert code in CODES, f"{code} is not a code of the contract: {problem}"
    code_status, outcomes = CODES[code]
    assert (status, problem["status"]) == (code_status, code_status), problem
    assert problem["outcome"] in outcomes, problem
    assert problem["type"].endswith(f"#{code}"), problem
    assert all(isinstance(problem[name], str) and problem[name] for name in ("title", "detail", "request_id")), problem
    if code == "invalid_request":
        assert problem["errors"], problem
        assert all({"field", "message"} <= set(error) for error in problem["errors"]), problem
    if code == "unknown_sku":
        assert problem["skus"], problem
    if code == "out_of_stock":
        check_shortages(problem["shortages"])


def check_shortages(shortages: list[dict[str, Any]]) -> None:
    """Each line that is short says everything that the contract lists."""
    assert shortages
    for shortage in shortages:
        assert {"sku", "location", "requested", "available", "reason", "next_release_at"} <= set(shortage), shortage
        assert shortage["reason"] in {"sold_out", "held", "reserved_for_safety", "paused"}, shortage
        if shortage["next_release_at"] is not None:
            instant_ms(shortage["next_release_at"])


def check_level(level: dict[str, Any]) -> None:
    """`available` is what the other counters make it, and none of them is negative."""
    assert set(level) >= LEVEL_FIELDS, level
    taken = level["held"] + level["committed"] + sum(level["deductions"].values()) + level["safety_stock"]
    assert level["available"] == level["on_hand"] - taken, level
    assert min(level["on_hand"], level["held"], level["committed"], *level["deductions"].values()) >= 0, level
    assert POSITION.fullmatch(level["position"]), level
    instant_ms(level["updated_at"])


def check_worth(answer: dict[str, Any]) -> None:
    """The answer says what it is worth: as of which position, and whether that is committed."""
    assert POSITION.fullmatch(answer["position"]), answer
    assert isinstance(answer["durable"], bool), answer


def check_stock(stock: dict[str, Any]) -> None:
    """The totals of a sku are the sums over its locations."""
    assert {"sku", "shop", "available", "on_hand", "held", "committed", "paused", "locations"} <= set(stock), stock
    check_worth(stock)
    for level in stock["locations"]:
        check_level(level)
    for name in ("available", "on_hand", "held", "committed"):
        assert stock[name] == sum(level[name] for level in stock["locations"]), stock


def check_reservation(reservation: dict[str, Any]) -> None:
    """All fields are there, and the instants fit the state."""
    assert set(reservation) >= RESERVATION_FIELDS, reservation
    assert reservation["id"].startswith("rsv_"), reservation
    state = reservation["state"]
    assert state in STATES, reservation
    check_worth(reservation)
    instant_ms(reservation["created_at"])
    if state == "held":
        instant_ms(reservation["expires_at"])
    else:
        assert reservation["expires_at"] is None, reservation
    for name in ("confirmed_at", "ended_at"):
        if reservation[name] is not None:
            instant_ms(reservation[name])
    assert (reservation["confirmed_at"] is None) or state in {"confirmed", "fulfilled", "released"}, reservation
    assert (reservation["confirmed_at"] is not None) or state not in {"confirmed", "fulfilled"}, reservation
    assert (reservation["ended_at"] is None) == (state in {"held", "confirmed"}), reservation
    for line in reservation["lines"]:
        assert set(line) >= {"sku", "location", "quantity"}, reservation
        assert line["quantity"] >= 1, reservation
